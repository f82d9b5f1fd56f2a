# A web page that posts to this port gets nowhere.
row 41

scene POST
C> POST / HTTP/1.1
C> Host: mail.example.org
C> Content-Length: 40
C> 
C> a LOGIN evil pa55word
C> b NOOP
C gone
B connections 0

scene ALPN
listener tls
with protocol http/1.1 | h2 | smtp
C connect alpn $protocol
C closed

scene ALPN of IMAP
listener tls
C connect alpn imap
C< * OK ...
