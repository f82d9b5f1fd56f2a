# A server does not send clients, or a proxy, elsewhere.
row 34

scene to a login
backend login $tag NO [REFERRAL imap://evil.example.org/] go there
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] {{(?!.*evil).*}}

scene with OK
backend login $tag OK [REFERRAL imap://evil.example.org/] go there
C> a LOGIN ann pa55word
C~ a OK {{(?!.*evil).*}}

scene of a mailbox
backend select $tag NO [REFERRAL imap://evil.example.org/x] go there
C> a LOGIN ann pa55word
C~ a OK ...
C> b SELECT x
C~ b NO {{(?!.*REFERRAL).*}}
