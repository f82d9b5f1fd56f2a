# Lines that a server behind might cut elsewhere are not passed on.
row 24

scene before login
with line a\sNOOP\n | a\sNOOP\r\r\n | a\sNOOP\rb\sNOOP\r\n | a\sNO\0OP\r\n | a\sLOGIN\sann\spa55word\n
C>> $line
C~ {{\S+ BAD|\* BYE}} ...
B connections 0

scene after login
about what is read
with line b\sNOOP\n | b\sNOOP\r\r\n | b\sNOOP\rc\sDELETE\sx\r\n | b\sNOOP\nc\sDELETE\sx\r\n | b\sNO\0OP\r\n
C> a LOGIN ann pa55word
C~ a OK ...
C>> $line
C~ {{\S+ BAD|\* BYE}} ...
B never DELETE
