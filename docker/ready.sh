#!/bin/bash
# Is the daemon of this container ready (/readyz)? PORT is that of its metrics_listen on 127.0.0.1.
#   ready.sh PORT
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /readyz HTTP/1.0\r\n\r\n' >&3
read -r -t 5 -u 3 _ status _
[ "$status" = 200 ]
