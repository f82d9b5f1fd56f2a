# A handshake that is never ended.
row 20
profile impatient

scene nothing
C connect listener tls clear yes
C closed

scene the beginning of a record
C connect listener tls clear yes
C>> \x16\x03\x01\x02\x00\x01\x00
C closed

scene a byte now and then
C connect listener tls clear yes
C drips \x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\(a*40)
C closed

scene behind STARTTLS
listener starttls
C> a STARTTLS
C~ a OK ...
C closed

scene what is no TLS
C connect listener tls clear yes
C> a LOGIN ann pa55word
C gone
B connections 0
