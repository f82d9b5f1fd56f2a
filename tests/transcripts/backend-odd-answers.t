# Answers of a server that are none: nobody is signed in by them, and nobody's password is wrong.
row 31

scene OK with another tag
backend login x1 OK welcome
backend login !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene OK before LOGIN
backend greeting * OK [CAPABILITY IMAP4rev1] ready
backend greeting a1 OK welcome
backend greeting !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene OK with any tag before LOGIN
backend greeting * OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN] ready\r\n1 OK a\r\nA OK b\r\na OK c\r\n0001 OK d\r\nC1 OK e\r\nL OK f
backend login $tag NO [AUTHENTICATIONFAILED] no
C> a LOGIN ann pa55word
C~ a NO ...

scene a line that is no response
backend login ???
backend login !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene BAD
backend login $tag BAD [UNAVAILABLE] later
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene BYE
backend login * BYE too busy
backend login !close
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene a greeting of BYE
backend greeting * BYE too busy
backend greeting !close
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene a greeting that is none
with line HTTP/1.1\s400\sBad\sRequest | 220\ssmtp | * | a\sOK\sx
backend greeting $line
backend greeting !close
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
B never pa55word

scene OK twice
backend login $tag OK [CAPABILITY IMAP4rev1] welcome\r\n$tag OK welcome
C> a LOGIN ann pa55word
C~ {{a OK|a NO \[UNAVAILABLE\]}} ...
C> b NOOP
C~ * BYE [UNAVAILABLE] ...
C gone

scene a command is answered twice
C> a LOGIN ann pa55word
C~ a OK ...
C> b NOOP
B~ b NOOP
B> b OK done
B> b OK done
C~ b OK ...
C~ * BYE [UNAVAILABLE] ...
C gone
