# A ring of proxies ends.
row 47

scene no more proxies may follow
C> a ID ("x-proxy-ttl" "0")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b NO [UNAVAILABLE] ...
B never pa55word

scene one more may follow
C> a ID ("x-proxy-ttl" "3")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...
B heard "x-proxy-ttl" "2"

scene no number
with number -1 | x | 99999999999999999999
C> a ID ("x-proxy-ttl" "$number")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...
B never "x-proxy-ttl" "$number"
