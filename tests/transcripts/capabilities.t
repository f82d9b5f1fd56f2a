# Clients remember what they were shown first: nothing is taken away later, and signing in is not offered in clear.
row C1

scene STARTTLS
listener starttls
C connect
C< * OK [CAPABILITY {{(?=.*STARTTLS)(?=.*LOGINDISABLED)(?!.*AUTH=).*}}
C> a CAPABILITY
C< * CAPABILITY {{(?=.*STARTTLS)(?=.*LOGINDISABLED)(?!.*AUTH=).*}}
C~ a OK ...
C> b LOGIN ann pa55word
C~ b {{NO|BAD}} ...
C> c AUTHENTICATE PLAIN \b64<\0ann\0pa55word>
C~ c {{NO|BAD}} ...
B connections 0
C> d STARTTLS
C~ d OK ...
C tls
C> e CAPABILITY
C< * CAPABILITY {{(?=.*AUTH=PLAIN)(?!.*STARTTLS)(?!.*LOGINDISABLED).*}}
C~ e OK ...

scene TLS
listener tls
C connect
C< * OK [CAPABILITY {{(?=.*AUTH=PLAIN)(?=.*SASL-IR)(?!.*STARTTLS).*}}
C> a LOGIN ann pa55word
C~ a OK [CAPABILITY {{(?=.*UIDPLUS)(?=.*IDLE).*}}
