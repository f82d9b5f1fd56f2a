# What would put a proxy and its server out of step, or change the user behind the route's back.
row 49
backend caps IMAP4rev1 SASL-IR AUTH=PLAIN LITERAL+ ID UIDPLUS IDLE STARTTLS UNAUTHENTICATE COMPRESS=DEFLATE
C> a LOGIN ann pa55word

scene UNAUTHENTICATE
C~ a OK [CAPABILITY {{(?!.*UNAUTHENTICATE).*}}
C> b UNAUTHENTICATE
C~ b BAD ...
C> c NOOP
C~ c OK ...
B never UNAUTHENTICATE

scene COMPRESS is not the server's
C~ a OK ...
C> b COMPRESS XFROB
C~ b BAD ...
C> c NOOP
C~ c OK ...
B never COMPRESS

scene STARTTLS
C~ a OK [CAPABILITY {{(?!.*STARTTLS).*}}
C> b STARTTLS
C~ b BAD ...
B never STARTTLS
