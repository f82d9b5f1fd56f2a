# A response that is none ends the exchange, not the session.
row 26

scene
with response * | not\sbase64 | QQ | Q=== | ==== | \b64<\0ann\0pa55word>x | \b64<\0ann\0pa55word>\s
C> a AUTHENTICATE PLAIN
C< + ...
C> $response
C~ a BAD ...
C> b AUTHENTICATE PLAIN
C< + ...
C> \b64<\0ann\0pa55word>
C~ b OK ...
B logins 1

scene empty initial response
C> a AUTHENTICATE PLAIN =
C~ a {{NO|BAD}} ...
C> b LOGIN ann pa55word
C~ b OK ...

scene initial response that is none
with response * | QQ | not=base64
C> a AUTHENTICATE PLAIN $response
C~ a BAD ...
C> b LOGIN ann pa55word
C~ b OK ...

scene a megabyte
C> a AUTHENTICATE PLAIN
C< + ...
C> \(A*1048576)
C~ {{a BAD|\* BYE|\* BAD}} ...
B logins 0

scene literal
C> a AUTHENTICATE PLAIN
C< + ...
C> {3+}
C> abc
C~ {{a BAD|\* BYE|\* BAD}} ...
B logins 0
