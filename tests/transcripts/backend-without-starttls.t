# Where TLS is to be, a server that has none, or does not want it, gets no password.
row 4
profile backend-starttls

scene not offered
backend caps IMAP4rev1 AUTH=PLAIN SASL-IR
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word

scene offered and refused
with word NO | BAD
backend caps IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR
backend starttls $tag $word not now
backend starttls !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word
