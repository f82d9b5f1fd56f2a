# What a server says to a login is for its own staff: a code passes, control characters and alerts do not.
row 33 40

scene text
with text \e[31mred | \xff\xfe | imap7.internal.example.org\ssays\sno | see\shttp://evil.example.org | No\ssuch\suser | \rx
backend login $tag NO [AUTHENTICATIONFAILED] $text
C> a LOGIN ann pa55word
C~ a NO [AUTHENTICATIONFAILED] {{(?!.*(\x1b|\xff|internal|evil|such user|\r)).*}}

scene alert
backend login $tag NO [ALERT] Your account is locked, call 0900 123
C> a LOGIN ann pa55word
C~ a NO [{{(?!ALERT)[A-Z]+}}] {{(?!.*0900).*}}

scene untagged alert
backend login * NO [ALERT] Your account is locked, call 0900 123\r\n$tag NO no
C> a LOGIN ann pa55word
C< a NO [AUTHENTICATIONFAILED] {{(?!.*0900).*}}

scene code that tells a client what to do
with code AUTHENTICATIONFAILED | AUTHORIZATIONFAILED | EXPIRED | UNAVAILABLE | INUSE | LIMIT | CONTACTADMIN | PRIVACYREQUIRED
backend login $tag NO [$code] what the server says
C> a LOGIN ann pa55word
C~ a NO [$code] {{(?!.*what the server).*}}

scene no code
backend login $tag NO what the server says
C> a LOGIN ann pa55word
C~ a NO [AUTHENTICATIONFAILED] {{(?!.*what the server).*}}

scene code that nobody knows
backend login $tag NO [XFROB 7] what the server says
C> a LOGIN ann pa55word
C~ a NO [AUTHENTICATIONFAILED] {{(?!.*what the server).*}}
