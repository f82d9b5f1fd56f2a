"""What a private Dovecot is configured by: 2.3 of Debian 12 and 2.4 of Debian 13 name most things differently."""
import functools
import os
import subprocess

CONF = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "conf")

# The same in both.
HEAD = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/dovecot.log
protocols = imap
listen = 127.0.0.1
default_internal_user = {internal_user}
default_internal_group = {internal_group}
default_login_user = {login_user}
first_valid_uid = 1
first_valid_gid = 1
mail_uid = {mail_uid}
mail_gid = {mail_gid}
mail_fsync = {fsync}
mail_max_userip_connections = 500
ssl = {ssl}
auth_mechanisms = plain login
auth_username_chars =
auth_master_user_separator = {master_separator}
auth_failure_delay = 0
auth_cache_size = 0
login_trusted_networks = {trusted}
{capability}
"""
TAIL = """
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
{special_use}
}}
service anvil {{
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
{chroot}
}}
service stats {{
{chroot}
}}
service imap-login {{
  {requests}
  process_min_avail = 1
  client_limit = 1000
{chroot}
  inet_listener imap {{
    port = {imap}
  }}
  inet_listener imaps {{
    port = {imaps}
    ssl = yes
  }}
}}
service imap {{
  {sessions}
  process_limit = 1000
}}
{extra}
"""

OLD = HEAD + """
mail_location = {driver}:~/{path}
disable_plaintext_auth = no
{ssl_files}
passdb {{
  driver = passwd-file
  master = yes
  args = {folder}/masters
  result_success = continue
}}
passdb {{
  driver = passwd-file
  args = scheme=PLAIN {users}
}}
{open_passdb}
{userdb}
""" + TAIL

NEW = """
dovecot_config_version = {version}
dovecot_storage_version = {version}
""" + HEAD + """
mail_driver = {driver}
mail_path = ~/{path}
auth_allow_cleartext = yes
{ssl_files}
passdb masters {{
  driver = passwd-file
  passwd_file_path = {folder}/masters
  master = yes
  result_success = continue
}}
passdb users {{
  driver = passwd-file
  passwd_file_path = {users}
  default_password_scheme = plain
}}
{open_passdb}
{userdb}
""" + TAIL

# Everybody is there, or who stands in the file of users, which may tell more of them.
USERDBS = {
    False: ("""userdb {{
  driver = static
  args = uid={mail_uid} gid={mail_gid} home={folder}/mail/%{{sha256;truncate=64:user}} allow_all_users=yes
}}
""", """userdb all {{
  driver = static
  userdb_static_allow_all_users = yes
  fields {{
    uid = {mail_uid}
    gid = {mail_gid}
    home = {folder}/mail/%{{user | sha256 | hexlify | substr(0, 16)}}
  }}
}}
"""),
    True: ("""userdb {{
  driver = passwd-file
  args = {users}
  default_fields = uid={mail_uid} gid={mail_gid} home={folder}/mail/%{{sha256;truncate=64:user}}
}}
""", """userdb users {{
  driver = passwd-file
  passwd_file_path = {users}
  fields {{
    uid = {mail_uid}
    gid = {mail_gid}
    home = {folder}/mail/%{{user | sha256 | hexlify | substr(0, 16)}}
  }}
}}
"""),
}

# Name -> for 2.3, for 2.4; with the values that extra() is given.
EXTRAS = {
    "compress": ("protocol imap {{\n  mail_plugins = imap_zlib\n}}\n", ""),
    "public": ("""namespace public {{
  type = public
  separator = .
  prefix = Public.
  location = maildir:~/Public
  list = yes
  subscriptions = no
}}
""", """namespace public {{
  type = public
  separator = .
  prefix = Public.
  mail_driver = maildir
  mail_path = ~/Public
  list = yes
  subscriptions = no
}}
"""),
    "sharing": ("""mail_plugins = acl quota
protocol imap {{
  mail_plugins = acl imap_acl quota imap_quota
  imap_metadata = yes
}}
mail_attribute_dict = file:%h/attributes
plugin {{
  acl = vfile
  acl_user = %u
  quota = count:User quota
  quota_rule = *:storage={limit}
  quota_vsizes = yes
}}
""", """mail_plugins = acl quota
protocol imap {{
  mail_plugins {{
    imap_acl = yes
    imap_quota = yes
  }}
  imap_metadata = yes
}}
mail_attribute {{
  dict file {{
    path = %{{home}}/attributes
  }}
}}
acl_driver = vfile
quota "User quota" {{
  storage_size = {limit}
}}
"""),
    # Users see what others grant them, below shared/THEIR-NAME/; the list of who does lies in folder.
    "shared": ("""mail_plugins = acl
protocol imap {{
  mail_plugins = acl imap_acl
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/%%u/
  location = {driver}:%%h/{path}
  subscriptions = no
  list = children
}}
plugin {{
  acl = vfile
  acl_user = %u
  acl_anyone = allow
  acl_shared_dict = file:{folder}/shared-mailboxes
}}
""", """mail_plugins = acl
protocol imap {{
  mail_plugins {{
    imap_acl = yes
  }}
}}
namespace shared {{
  type = shared
  separator = /
  prefix = shared/$user/
  mail_driver = {driver}
  mail_path = %{{owner_home}}/{path}
  mail_index_private_path =
  subscriptions = no
  list = children
}}
acl_driver = vfile
imap_acl_allow_anyone = yes
acl_sharing_map {{
  dict file {{
    path = {folder}/shared-mailboxes
  }}
}}
"""),
    "quota": ("""mail_plugins = quota
protocol imap {{
  mail_plugins = quota imap_quota
}}
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
""", """mail_plugins = quota
protocol imap {{
  mail_plugins {{
    imap_quota = yes
  }}
}}
quota "User quota" {{
}}
"""),
    # Scripts may act on what comes by IMAP, too, and the server says so.
    "sieve": ("""protocols = imap sieve
service managesieve-login {{
  {chroot}
  inet_listener sieve {{
    address = 127.0.0.1
    port = {port}
  }}
}}
protocol imap {{
  mail_plugins = {imap_sieve}
}}
plugin {{
  sieve = file:~/sieve;active=~/.dovecot.sieve
  imapsieve_url = sieve://127.0.0.1:{port}
}}
""", """protocols = imap sieve
service managesieve-login {{
  {chroot}
  inet_listener sieve {{
    listen = 127.0.0.1
    port = {port}
  }}
}}
protocol imap {{
  mail_plugins {{
    imap_sieve = {imap_sieve}
  }}
}}
sieve_script personal {{
  path = ~/sieve
  active_path = ~/.dovecot.sieve
}}
imapsieve_url = sieve://127.0.0.1:{port}
"""),
    "lmtp": ("protocols = imap lmtp\nservice lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n",
             "protocols = imap lmtp\nservice lmtp {{\n  inet_listener lmtp {{\n    listen = 127.0.0.1\n    port = {port}\n  }}\n}}\n"),
    "connections": ("protocol imap {{\n  mail_max_userip_connections = {limit}\n}}\n",) * 2,
    "memory": ("default_vsz_limit = {limit}\n",) * 2,
}


@functools.lru_cache(maxsize=None)
def version():
    """ "2.3.19" """
    return subprocess.run(["dovecot", "--version"], check=True, capture_output=True, text=True).stdout.split()[0].split("-")[0]


def is_new():
    return tuple(int(x) for x in version().split(".")[:2]) >= (2, 4)


def extra(name, **values):
    return EXTRAS[name][is_new()].format(**values)


def doveadm(port, key, tls):
    """The file for administrators, with these values."""
    with open(os.path.join(CONF, "dovecot-numbers.conf"), encoding="utf-8") as f:
        text = f.read()
    only_here = "listen" if is_new() else "address"
    text = text.replace("port = 8080", f"port = {port}\n    {only_here} = 127.0.0.1").replace("= KEY", f"= {key}")
    return text if tls else text.replace("    ssl = yes\n", "")


POP3 = """
protocols = imap pop3
%(uidl)s
service pop3-login {
  %(requests)s
  client_limit = 1000
  %(chroot)s
  inet_listener pop3 {
    port = %(pop3)d
  }
  inet_listener pop3s {
    port = %(pop3s)d
    ssl = yes
  }
}
service pop3 {
  process_limit = 1000
}
"""


def pop3(port, tls_port, uidl, chroot):
    """uidl: pop3_uidl_format; "" = as Dovecot has it. chroot: "" or the line that leaves it out."""
    return POP3 % {"uidl": f"pop3_uidl_format = {uidl}" if uidl else "", "requests": _unlimited(), "chroot": chroot.strip(),
                   "pop3": port, "pop3s": tls_port}


def _unlimited():
    return "restart_request_count = unlimited" if is_new() else "service_count = 0"


def behind_proxies(port, tls_port, tls):
    """The file for administrators, with these values; a port without TLS is there for tests alone."""
    with open(os.path.join(CONF, "dovecot-proxied.conf"), encoding="utf-8") as f:
        text = f.read()
    only_here = "listen" if is_new() else "address"
    text = text.replace("port = 10993", f"port = {tls_port}\n    {only_here} = 127.0.0.1").replace("192.0.2.10 192.0.2.11", "127.0.0.0/8")
    text = text.replace("  inet_listener imaps_proxied", f"  inet_listener imap_proxied {{\n    port = {port}\n    {only_here} = 127.0.0.1\n"
                        "    haproxy = yes\n  }\n  inet_listener imaps_proxied")
    return text if tls else text.replace("    ssl = yes\n", "")


# Of 2.3; its master may sign in as anybody by PLAIN as before.
TOKENS = """
auth_mechanisms = plain login xoauth2 oauthbearer
passdb {
  driver = oauth2
  mechanisms = xoauth2 oauthbearer
  args = %s
}
"""
PROVIDER = """
tokeninfo_url = %s
introspection_mode = auth
username_attribute = user
username_format = %%u
active_attribute = active
active_value = true
"""


NEW_TOKENS = """
auth_mechanisms = plain login xoauth2 oauthbearer
oauth2 {
  tokeninfo_url = %s
  introspection_mode = auth
  username_attribute = user
  active_attribute = active
  active_value = true
}
"""


def tokens(url, write):
    """What makes it ask an identity provider at url; write(name, text) makes a file of it, and returns its path."""
    if is_new():
        return NEW_TOKENS % url
    return TOKENS % write("provider.conf.ext", PROVIDER % url)


def sieve(port, imap, chroot):
    """ManageSieve at that port. imap: what comes by IMAP sets scripts off."""
    word = ("yes" if imap else "no") if is_new() else "imap_sieve" if imap else ""
    return extra("sieve", port=port, imap_sieve=word, chroot=chroot.strip())


def ssl_files(cert, key):
    if is_new():
        return f"ssl_server_cert_file = {cert}\nssl_server_key_file = {key}"
    return f"ssl_cert = <{cert}\nssl_key = <{key}"


def open_passdb(password):
    """Everybody has it."""
    if is_new():
        return f"passdb anybody {{\n  driver = static\n  passdb_static_password = {password}\n}}"
    return f"passdb {{\n  driver = static\n  args = password={password}\n}}"


def text(**values):
    requests = _unlimited()
    # To load a process anew for each login takes more than the login.
    sessions = "restart_request_count = 100" if is_new() else "service_count = 100"
    userdb = USERDBS[values.pop("listed")][is_new()].format(**values)
    return (NEW if is_new() else OLD).format(version=version(), requests=requests, sessions=sessions, userdb=userdb, **values)
