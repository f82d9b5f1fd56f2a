# A client that sends no more still gets its answers.
row 37

scene after login
C> a LOGIN ann pa55word
C> b SELECT INBOX
C> c NOOP
C shut
C~ a OK ...
C~ b OK ...
C~ c OK ...
C gone

scene before login
C> a NOOP
C shut
C~ a OK ...
C closed

scene in the middle of a command
C>> a LOGIN ann
C shut
C gone
B logins 0
