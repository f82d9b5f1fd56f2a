# A header where none is expected is no command.
row 38
C connect header PROXY\sTCP4\s192.0.2.9\s198.51.100.2\s40000\s993\r\n
C> a LOGIN ann pa55word
C gone
B connections 0
