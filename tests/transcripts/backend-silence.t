# Servers that say nothing, and connections that end in the middle.
row 35

scene silent
profile impatient
with at greeting | id | login
backend $at !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
C> b NOOP
C~ b OK ...

scene ends
with at greeting | id | login
backend $at !close
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
C> b NOOP
C~ b OK ...

scene reset in the middle of a line
with at greeting | login
backend $at !unended * O
backend $at !reset
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
C> b NOOP
C~ b OK ...

scene half closed
with at greeting | login
backend $at !unended * OK
backend $at !shut
backend $at !hang
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...

scene while it is asked what it can do
profile impatient
with how !hang | !close | !reset | !shut
backend greeting * OK ready
backend capability !unended * CAPA
backend capability $how
C> a LOGIN ann pa55word
C~ a NO [UNAVAILABLE] ...
C> b NOOP
C~ b OK ...
B logins 0
