# SASL-IR (RFC 4959), and what goes without it.
row C4

scene initial response
C> a AUTHENTICATE PLAIN \b64<\0ann\0pa55word>
C~ a OK ...
B login ann pa55word

scene lower case
C> a authenticate plain \b64<\0ann\0pa55word>
C~ a OK ...
B login ann pa55word

scene a server without SASL-IR
backend caps IMAP4rev1 AUTH=PLAIN
C> a AUTHENTICATE PLAIN \b64<\0ann\0pa55word>
C~ a OK ...
B login ann pa55word

scene a server without AUTHENTICATE
backend caps IMAP4rev1
C> a AUTHENTICATE PLAIN \b64<\0an n\0pa55"word>
C~ a OK ...
B login an\sn pa55"word

scene a mechanism that is not offered
C> a AUTHENTICATE XFROB
C~ a {{NO|BAD}} ...
C> b LOGIN ann pa55word
C~ b OK ...
