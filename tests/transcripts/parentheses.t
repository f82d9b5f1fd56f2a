# Nested lists are no way to take memory.
row 22

scene ID
with many 10 | 1000 | 8000
C> a ID \((*$many)
C~ {{a BAD|\* BYE|\* BAD}} ...
B logins 0

scene LOGIN
with many 10 | 1000 | 8000
C> a LOGIN \((*$many) pa55word
C~ {{a BAD|a NO|\* BYE|\* BAD}} ...
B logins 0

scene deep in a literal's command
C> a ID (((((((((((((((((((((((((((((((((((((((((((((((( \lit<name>
C>  \lit<x>))
C~ {{a BAD|\* BYE|\* BAD}} ...
B logins 0
