# What strangers send stands in the log escaped, in the line that it belongs to.
row 39
backend login $tag NO [AUTHENTICATIONFAILED] no

scene
with name a"b | a\\b | a=b\sevent=login | {"a":1}
C> a LOGIN \lit<$name> pa55word
C~ a NO ...
log never user=a=b\sevent=login

scene 8-bit
C> a LOGIN \lit<\xc2\x85\xe2\x80\xa8x> pa55word
C~ a {{NO|BAD}} ...
