# A backend whose certificate does not hold is none: the password is not shown, and there is no way back to clear text.
row 5
with certificate wrong-name | expired | self-signed | common-name
certificate $certificate

scene starttls
profile backend-starttls
backend caps IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word
B logins 0

scene imaps
profile backend-tls
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word
B logins 0
