# OAUTHBEARER (RFC 7628) and XOAUTH2: the token of an identity provider in a password's place.
row C9
profile tokens
backend caps IMAP4rev1 SASL-IR AUTH=PLAIN AUTH=OAUTHBEARER AUTH=XOAUTH2

scene initial response
C> a AUTHENTICATE OAUTHBEARER \b64<n,a=ann,\x01auth=Bearer pa55word\x01\x01>
C~ a OK ...
B heard Bearer\spa55word

scene without one
C> a AUTHENTICATE XOAUTH2
C< + ...
C> \b64<user=ann\x01auth=Bearer pa55word\x01\x01>
C~ a OK ...
B heard Bearer\spa55word

scene a server that has the other one alone
backend caps IMAP4rev1 SASL-IR AUTH=XOAUTH2
C> a AUTHENTICATE OAUTHBEARER \b64<n,a=ann,\x01auth=Bearer pa55word\x01\x01>
C~ a OK ...
B heard user=ann\x01auth=Bearer\spa55word

scene a server's reason reaches the client
with answer \s | AQ==
backend challenge + \b64<{"status":"invalid_token"}>
backend login $tag NO [AUTHENTICATIONFAILED] no
C> a AUTHENTICATE OAUTHBEARER \b64<n,a=ann,\x01auth=Bearer pa55word\x01\x01>
C< + ...
C> $answer
C~ a {{NO|BAD}} ...
C> b NOOP
C~ b OK ...

scene a message that is none
with message \b64<n,a=ann,\x01auth=Basic\sx\x01\x01> | \b64<n,a=ann,\x01\x01> | \b64<\x01auth=Bearer\spa55word\x01\x01> | \b64<n,a=an\0n,\x01auth=Bearer\spa55word\x01\x01> | \b64<n,a=ann,\x01auth=Bearer\spa55\r\nword\x01\x01> | * | QQ
C> a AUTHENTICATE OAUTHBEARER
C< + ...
C> $message
C~ {{a (NO|BAD)|\+}} ...
B logins 0

scene not offered
profile plain
with mechanism XOAUTH2 | OAUTHBEARER
C> a AUTHENTICATE $mechanism \b64<n,a=ann,\x01auth=Bearer pa55word\x01\x01>
C~ a {{NO|BAD}} ...
C> b NOOP
C~ b OK ...
B connections 0
