# A command behind STARTTLS in the same segment was sent in clear by anybody. It must never run as if it had come by TLS.
row 1
listener starttls

scene a login behind it
C> a STARTTLS
C> b LOGIN evil pa55word
C gone
B connections 0
log why=starttls_plaintext

scene one byte behind it
C> a STARTTLS
C>> b
C gone
log why=starttls_plaintext

scene nothing behind it
C> a STARTTLS
C< a OK ...
C tls
C> b LOGIN ann pa55word
C~ b OK ...
B login ann pa55word
