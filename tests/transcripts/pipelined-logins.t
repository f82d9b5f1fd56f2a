# The second is looked at when the first has been answered.
row 30

scene the first succeeds
C> a LOGIN ann pa55word
C> b LOGIN bob pa55word
C~ a OK ...
C~ b BAD ...
B logins 1

scene the first fails
backend login $tag NO [AUTHENTICATIONFAILED] no
C> a LOGIN ann pa55word
C> b LOGIN bob pa55word
C~ a NO [AUTHENTICATIONFAILED] ...
C~ b NO [AUTHENTICATIONFAILED] ...
B logins 2

scene too many
backend login $tag NO [AUTHENTICATIONFAILED] no
C> a LOGIN ann pa55word
C> b LOGIN ann pa55word
C> c LOGIN ann pa55word
C> d LOGIN ann pa55word
C~ a NO ...
C~ b NO ...
C~ c NO ...
C~ * BYE ...
C closed
B logins 3
