# What a server sends behind its OK to STARTTLS, before the handshake, was sent by anybody on the way.
row 2
profile backend-starttls
backend caps IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR

scene an untagged line behind it
backend starttls $tag OK go on\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN
backend starttls !tls
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word

scene nothing behind it
backend starttls $tag OK go on
backend starttls !tls
C> a LOGIN ann pa55word
C~ a OK ...
B login ann pa55word
