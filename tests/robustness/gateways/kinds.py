"""The gateways that are tried. Each gives up on a silent service after one second."""

from collections.abc import Sequence

from tests.robustness.gateways.gateway import HOST, Kind, Site


def _nginx(site: Site) -> Sequence[str]:
    tls = f"ssl_certificate {site.certificate}; ssl_certificate_key {site.certificate};" if site.certificate else ""
    folders = " ".join(
        f"{name}_temp_path {site.folder}/{name};" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    text = f"""
        daemon off; pid {site.folder}/pid; error_log stderr; worker_processes 2;
        events {{ worker_connections 512; }}
        http {{
            access_log off; {folders}
            keepalive_requests 3; keepalive_timeout 1s;
            limit_req_zone $binary_remote_addr zone=all:1m rate=1r/s;
            upstream service {{ server {site.upstream}; }}
            upstream compressing {{ server unix:{site.folder}/inner; }}
            server {{
                listen unix:{site.folder}/inner;
                gzip on; gzip_types application/json; gzip_min_length 1; gzip_http_version 1.0; gzip_proxied any;
                location / {{ proxy_set_header Host {HOST}; proxy_pass http://service; }}
            }}
            server {{
                listen {HOST}:{site.port} {"ssl" if tls else ""}; {tls}
                proxy_read_timeout 1s;
                location / {{
                    set $to service; {site.options} proxy_set_header Host {HOST}; proxy_pass http://$to;
                }}
            }}
        }}
    """
    return ["-c", str(site.write("nginx.conf", text))]


COMPRESSING = "set $to compressing; proxy_set_header Accept-Encoding gzip;"
"""Options with which nginx passes on answers that another nginx compresses, whatever the client accepts."""


def _haproxy(site: Site) -> Sequence[str]:
    text = f"""
defaults
    mode http
    retries 1
    timeout connect 1s
    timeout client 60s
    timeout server 1s
    timeout queue 1s
listen gateway
    bind {HOST}:{site.port}
    server service {site.upstream} {site.options}
"""
    return ["-db", "-f", str(site.write("haproxy.cfg", text))]


def _varnish(site: Site) -> Sequence[str]:
    host, _, port = site.upstream.partition(":")
    text = f"""
vcl 4.1;
backend service {{ .host = "{host}"; .port = "{port}"; .first_byte_timeout = 1s; .between_bytes_timeout = 1s; }}
"""
    listen = ["-a", f"{HOST}:{site.port}", "-n", str(site.folder / "work")]
    return ["-F", "-j", "none", "-s", "malloc,16m", *listen, "-f", str(site.write("default.vcl", text))]


def _apache(site: Site) -> Sequence[str]:
    modules = "\n".join(
        f"LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so"
        for name in ("mpm_event", "authz_core", "proxy", "proxy_http")
    )
    text = f"""
ServerRoot {site.folder}
ServerName localhost
DefaultRuntimeDir {site.folder}
PidFile {site.folder}/pid
ErrorLog {site.folder}/errors
Listen {HOST}:{site.port}
{modules}
ProxyTimeout 1
ProxyPass / http://{site.upstream}/ retry=0
"""
    return ["-D", "FOREGROUND", "-f", str(site.write("apache2.conf", text))]


def _caddy(site: Site) -> Sequence[str]:
    text = f"""
{{
    admin off
    auto_https off
    grace_period 1s
}}
http://{HOST}:{site.port} {{
    bind {HOST}
    reverse_proxy {site.upstream} {{
        transport http {{
            response_header_timeout 1s
            read_timeout 1s
        }}
    }}
}}
"""
    return ["run", "--config", str(site.write("Caddyfile", text)), "--adapter", "caddyfile"]


def _lighttpd(site: Site) -> Sequence[str]:
    host, _, port = site.upstream.partition(":")
    text = f"""
server.document-root = "{site.folder}"
server.bind = "{HOST}"
server.port = {site.port}
server.modules = ("mod_proxy")
proxy.server = ("" => (("host" => "{host}", "port" => {port}, "read-timeout" => 1)))
"""
    return ["-D", "-f", str(site.write("lighttpd.conf", text))]


NGINX = Kind("nginx", "nginx-light", "nginx", _nginx)
HAPROXY = Kind("HAProxy", "haproxy", "haproxy", _haproxy)
KINDS = (
    NGINX,
    HAPROXY,
    Kind("Varnish", "varnish", "varnishd", _varnish),
    Kind("Apache", "apache2", "apache2", _apache),
    Kind("Caddy", "caddy", "caddy", _caddy),
    Kind("lighttpd", "lighttpd", "lighttpd", _lighttpd),
)
