# A tag that is none is answered "* BAD", and never echoed.
row 25

scene
with tag a+ | a{ | \xe4 | * | \(t*300) | a( | a\x01 | a" | a\\ | a% | a)
C> $tag NOOP
C~ * BAD ...
C> b NOOP
C~ b OK ...

scene empty
with line NOOP | \sNOOP | \s
C> $line
C~ {{\S+ BAD}} ...
C> b NOOP
C~ b OK ...

scene long enough for anybody
C> \(t*50) NOOP
C~ \(t*50) OK ...
