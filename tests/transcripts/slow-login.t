# The time to sign in is for all of it: a byte now and then is no reprieve.
row 19
profile impatient

scene a line without an end
C>> a LOGIN ann
C~ * BYE ...
C gone

scene a byte now and then
C drips a NOOP a NOOP a NOOP a NOOP a NOOP a NOOP a NOOP
C~ * BYE ...
C gone

scene nothing at all
C~ * BYE ...
C gone
