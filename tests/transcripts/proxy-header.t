# The PROXY protocol, from whom it may come.
row 38
profile header

scene version 1
listener tls
C connect header PROXY\sTCP4\s192.0.2.9\s198.51.100.2\s40000\s993\r\n
C< * OK ...
C> a LOGIN ann pa55word
C~ a OK ...
log event=login ...peer=192.0.2.9:40000

scene version 2
listener tls
C connect header \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc6\x33\x64\x02\x9c\x40\x03\xe1
C< * OK ...
C> a LOGIN ann pa55word
C~ a OK ...
log event=login ...peer=192.0.2.9:40000

scene version 2, LOCAL
C connect header \r\n\r\n\0\r\nQUIT\n\x20\0\0\0
C< * OK ...

scene version 2, AF_UNSPEC
C connect header \r\n\r\n\0\r\nQUIT\n\x21\0\0\0
C< * OK ...

scene version 1, UNKNOWN
C connect header PROXY\sUNKNOWN\r\n
C< * OK ...

scene by a stranger
C connect from 127.0.0.9 header PROXY\sTCP4\s192.0.2.9\s198.51.100.2\s40000\s993\r\n
C closed

scene none
C connect header a\sLOGIN\sann\spa55word\r\n
C closed
B connections 0

scene none, where the client waits to be greeted
C connect
C closed

scene truncated
with header PROXY | PROXY\sTCP4\s192.0.2.9 | \r\n\r\n\0\r\nQUIT\n | \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0
C connect header $header
C closed

scene that is none
with header PROXY\sTCP4\s192.0.2.999\s198.51.100.2\s40000\s993\r\n | PROXY\sTCP4\s192.0.2.9\s198.51.100.2\s4000000\s993\r\n | PROXY\sUDP4\s192.0.2.9\s198.51.100.2\s40000\s993\r\n | PROXY\s\(x*200)\r\n | \r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c\(x*12) | \r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c\(x*12) | \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x04\(x*4)
C connect header $header
C closed

scene version 2, length 65535
C connect header \r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff\(x*2000)
C closed

scene version 2, TLVs that are garbage
C connect header \r\n\r\n\0\r\nQUIT\n\x21\x11\0\x10\xc0\0\x02\x09\xc6\x33\x64\x02\x9c\x40\x03\xe1\x04\xff\xff\x01
C closed

scene a client that did not wait for its greeting
C connect header PROXY\sTCP4\s127.0.0.7\s198.51.100.2\s40000\s993\r\na\sNOOP\r\n
C< * OK ...
C~ a OK ...
