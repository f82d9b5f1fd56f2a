# AUTHENTICATE LOGIN, which no RFC describes and old mail programs speak.
row C6

scene
C> a AUTHENTICATE LOGIN
C< + \b64<Username:>
C> \b64<ann>
C< + \b64<Password:>
C> \b64<pa55word>
C~ a OK ...
B login ann pa55word

scene the name at once
C> a authenticate login \b64<ann>
C< + \b64<Password:>
C> \b64<pa55word>
C~ a OK ...
B login ann pa55word

scene all at once
C> a AUTHENTICATE LOGIN
C> \b64<ann>
C> \b64<pa55word>
C> b NOOP
C~ + ...
C~ + ...
C~ a OK ...
C~ b OK ...

scene cancelled
with answer * | QQ
C> a AUTHENTICATE LOGIN
C< + ...
C> $answer
C~ a {{NO|BAD}} ...
C> b LOGIN ann pa55word
C~ b OK ...
B logins 1

scene cancelled behind the name
with answer * | QQ | \b64<pa55\0word>
C> a AUTHENTICATE LOGIN
C< + ...
C> \b64<ann>
C< + ...
C> $answer
C~ a {{NO|BAD}} ...
C> b AUTHENTICATE PLAIN \b64<\0bob\0pa55word>
C~ b OK ...
B login bob pa55word
B logins 1

scene a name that is none
with name an\0n | an\nn | a\xff | an\en
C> a AUTHENTICATE LOGIN
C> \b64<$name>
C> \b64<pa55word>
C> b NOOP
C~ + ...
C~ + ...
C~ a {{NO|BAD}} ...
C~ b OK ...
B logins 0
