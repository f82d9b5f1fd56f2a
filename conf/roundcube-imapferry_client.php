<?php

/**
 * Roundcube tells imapferry (and Dovecot) for which browser it signs in, by ID: then limits, logs and fail2ban see users
 * and not the webmail. Put it in plugins/imapferry_client/imapferry_client.php, add "imapferry_client" to
 * $config['plugins'], and the webmail's address to `trusted` in the section proxy of imapferry.conf. Behind an HTTP
 * proxy, set $config['proxy_whitelist'] too, so that Roundcube itself knows its browsers.
 */
class imapferry_client extends rcube_plugin
{
    public function init()
    {
        $this->add_hook('storage_connect', [$this, 'storage_connect']);
    }

    public function storage_connect($options)
    {
        $options['preauth_ident'] = ['x-originating-ip' => rcube_utils::remote_addr()] + ($options['preauth_ident'] ?? []);
        return $options;
    }
}
