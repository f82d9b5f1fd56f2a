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
