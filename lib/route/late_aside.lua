-- late_aside: a look that its own scripts fail for (its records are none that anybody wrote) waits, so that it is in nobody's
-- way. args: user, ms. ok
if not open() then return NOSTORE end
if late_at(arg(1)) > 0 then late_put(arg(1), number(arg(2)), late_is_daily(arg(1))) end
return OK
