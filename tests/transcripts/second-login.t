# Who has signed in can't do so again, and not as somebody else.
row 29
C> a LOGIN ann pa55word
C~ a OK ...

scene LOGIN
C> b LOGIN bob pa55word
C~ b BAD ...
C> c NOOP
C~ c OK ...
B connections 1

scene AUTHENTICATE
C> b AUTHENTICATE PLAIN \b64<\0bob\0pa55word>
C~ b BAD ...
C> c NOOP
C~ c OK ...
B connections 1

scene AUTHENTICATE without initial response
C> b AUTHENTICATE PLAIN
C~ b BAD ...
C> c NOOP
C~ c OK ...
B connections 1

scene STARTTLS
C> b STARTTLS
C~ b BAD ...
C> c NOOP
C~ c OK ...
