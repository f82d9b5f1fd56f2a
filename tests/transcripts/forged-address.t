# Whoever says from where he comes is believed where he is trusted alone.
row 23

scene a stranger
C> a ID ("x-originating-ip" "192.0.2.77")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...
B never 192.0.2.77
log event=login ...peer=127.0.0.1:

scene one who may
profile trusted
C> a ID ("name" "webmail" "x-originating-ip" "192.0.2.77" "x-originating-port" "4711" "x-session-id" "outer")
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...
B heard 192.0.2.77
log event=login ...peer=192.0.2.77:4711

scene an address that is none
profile trusted
with address 192.0.2.777 | localhost | 192.0.2.7\0 | 192.0.2.7/24
C> a ID ("x-originating-ip" \lit<$address>)
C~ a {{OK|BAD}} ...
C> b LOGIN ann pa55word
C~ b OK ...
B never 192.0.2.7
