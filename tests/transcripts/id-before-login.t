# ID (RFC 2971): 30 pairs, 30 bytes a key, 1024 a value; and what Outlook says.
row 23

scene NIL
C> a ID NIL
C~ a OK ...

scene literals, as Outlook sends them
C> a ID (\lit<name> \lit<Microsoft Outlook> \lit<version> NIL)
C~ a OK ...
C> b LOGIN ann pa55word
C~ b OK ...

scene a value of 1024 bytes
C> a ID ("name" "\(n*1024)")
C~ a OK ...

scene a value of 1025 bytes
C> a ID ("name" "\(n*1025)")
C~ a BAD ...

scene a thousand pairs
C> a ID (\("k" "v" *1000)"k" "v")
C~ {{a BAD|\* BYE|\* BAD}} ...

scene no pairs
with list ("name") | (name) | name | ("a" "b" "c") | (("a" "b"))
C> a ID $list
C~ a BAD ...
C> b NOOP
C~ b OK ...
