# How the network cuts what a client says into pieces is of no meaning.
row 17

scene LOGIN with literals, whole
C> a LOGIN {3+}
C>> ann 
C> \lit<pa55word>
C~ a OK ...
B login ann pa55word

scene LOGIN with literals, byte by byte
split bytes
C> a LOGIN {3+}
C>> ann 
C> \lit<pa55word>
C~ a OK ...
B login ann pa55word

scene literals that are asked for, byte by byte
split bytes
C> a LOGIN {3}
C< + ...
C> ann {8}
C< + ...
C> pa55word
C~ a OK ...
B login ann pa55word

scene PLAIN, byte by byte
split bytes
C> a AUTHENTICATE PLAIN
C< + ...
C> \b64<\0ann\0pa55word>
C~ a OK ...
B login ann pa55word

scene quoted, byte by byte
split bytes
C> a LOGIN "a\\"n\\\\n" "pa55word"
C~ a OK ...
B login a"n\\n pa55word
