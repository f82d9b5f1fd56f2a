# Somebody else is signed in already, and TLS can't be begun any more.
row 3
backend greeting * PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] as somebody
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word

scene with TLS to come
profile backend-starttls

scene in clear
profile plain
