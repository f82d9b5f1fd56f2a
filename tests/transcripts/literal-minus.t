# LITERAL- (RFC 7888): 4096 bytes without being asked for, and no more.
row 18

scene 4096 bytes
C> a ID ("name" \lit<\(n*1000)>)
C~ a OK ...
C> b LOGIN ann \lit<\(p*4096)>
C~ b OK ...
B login ann \(p*4096)

scene 4097 bytes
C> a LOGIN ann \lit<\(p*4097)>
C~ {{a BAD|\* BYE}} ...
B logins 0
