# Who asks to be somebody else must not be let in as the one that he is, and not as the other either.
row 10

scene somebody else
C> a AUTHENTICATE PLAIN \b64<bob\0ann\0pa55word>
C~ a NO ...
B logins 0

scene the same
C> a AUTHENTICATE PLAIN \b64<ann\0ann\0pa55word>
C~ a OK ...
B login ann pa55word

scene one who may
profile masters
C> a AUTHENTICATE PLAIN \b64<bob\0admin\0pa55word>
C~ a OK ...
B login admin pa55word
B heard bob

scene another one than who may
profile masters
C> a AUTHENTICATE PLAIN \b64<bob\0ann\0pa55word>
C~ a NO [AUTHENTICATIONFAILED] ...
B logins 0
