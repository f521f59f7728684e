"""The table of httpd's directives: where each may stand, how many arguments it takes, and what vestibule makes of it.

Rules:
* Every directive is one of three: SUPPORTED, its meaning is in the model; HARMLESS, it may be left out and a warning says so;
  MISSING, it is an error that says what to do. A name that is not here is an error too.
* ``doc`` of a supported directive says what becomes of it, that of the others why it is left out or what to do.

Not here: what arguments mean (``lower`` and its neighbours). The matrix in the documentation is rendered from this table.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from vestibule.dialects.apache import directives_others


class How(Enum):
    """What becomes of a directive."""

    SUPPORTED = "supported"
    HARMLESS = "left out"
    MISSING = "error"


@dataclass(frozen=True, slots=True)
class Row:
    """One directive; ``name`` as the manual writes it."""

    name: str
    contexts: tuple[str, ...]
    takes: str
    how: How
    doc: str
    section: bool = False

    def accepts(self, count: int) -> bool:
        """Tell whether so many arguments are right."""
        low, dash, high = self.takes.partition("-")
        if low.endswith("+"):
            return count >= int(low[:-1])
        return int(low) <= count <= int(high if dash else low)


_PLACES = {"s": "server", "v": "virtual host", "l": "location", "d": "directory", "p": "proxy"}


def _rows(how: How, *lines: tuple[str, str, str, str]) -> list[Row]:
    """Make rows; a ``<`` after the arguments says that it is a section."""
    made: list[Row] = []
    for names, places, takes, doc in lines:
        contexts = tuple([_PLACES[each] for each in places])
        made.extend([Row(name, contexts, takes.rstrip("<"), how, doc, takes.endswith("<")) for name in names.split()])
    return made


_ROWS = _rows(
    How.SUPPORTED,
    # The program and its sockets.
    # Reading.
    ("Include IncludeOptional", "svldp", "1", "another file, all files that a pattern matches, or those of a directory"),
    ("Define UnDefine", "svldp", "1-2", "a value for `${NAME}`, from there on"),
    ("IfModule IfDefine IfVersion IfFile IfDirective IfSection", "svldp", "1-2<", "decided while the file is read"),
    ("Macro", "svldp", "1+<", "lines to be used again"),
    ("Use UndefMacro", "svldp", "1+", "those lines, with the arguments put in"),
    ("Error", "svldp", "1", "an error with that text"),
    ("Listen", "s", "1-2", "a listener; in a fragment without one, the addresses of its virtual hosts"),
    ("User Group", "s", "1", "the account to become once ports are bound"),
    ("PidFile", "s", "1", "the file that holds the process id"),
    ("ErrorLog", "sv", "1", "the log of the program, from the outermost level"),
    ("LogLevel", "sv", "1+", "the log of the program, from the outermost level"),
    ("GracefulShutdownTimeout", "s", "1", "how long exchanges in flight may go on once the program stops"),
    ("ListenBacklog", "s", "1", "connections the kernel keeps waiting"),
    # Sites.
    ("VirtualHost", "s", "1+<", "a site; the first one at an address serves the hosts that no name fits"),
    ("ServerName", "sv", "1", "the first host of the site"),
    ("UseCanonicalName", "sv", "1", "whether `%{SERVER_NAME}` is the name of the site or the host that was asked for"),
    ("ServerAlias", "v", "1+", "further hosts: names, and patterns with `*` and `?`"),
    ("Location", "sv", "1-2<", "conditions on the path around what is inside"),
    ("LocationMatch", "sv", "1<", "the same with a regular expression"),
    ("If ElseIf", "svl", "1+<", "the same with an expression"),
    ("Else", "svl", "0<", "what no expression before it was true for"),
    ("Proxy ProxyMatch", "sv", "1<", "what is inside counts for what is proxied; `balancer://` declares an upstream"),
    ("Protocols", "sv", "1+", "`h2` and `http/1.1`; without it httpd speaks HTTP/1.1 alone"),
    ("Timeout", "sv", "1", "`timeouts.body_idle` and the others that nothing else sets"),
    ("KeepAlive", "sv", "1", "`Off` allows one request on a connection"),
    ("KeepAliveTimeout", "sv", "1", "`timeouts.keep_alive`"),
    ("MaxKeepAliveRequests", "sv", "1", "requests on one client connection"),
    ("RequestReadTimeout", "sv", "1+", "`timeouts.request_head`"),
    ("LimitRequestFields", "sv", "1", "`limits.fields`"),
    ("LimitRequestLine", "sv", "1", "`limits.target`"),
    ("LimitRequestFieldSize", "sv", "1", "`limits.head` is four times as much"),
    # Proxying.
    ("ProxyRequests", "sv", "1", "`Off` is what vestibule does"),
    ("ProxyPass", "svl", "1+", "the upstream that answers a path; the first that fits"),
    ("ProxyPassMatch", "svl", "1+", "the same with a regular expression"),
    ("ProxyPassReverse", "svl", "1-3", "the Location of an answer"),
    ("ProxyPassReverseCookieDomain ProxyPassReverseCookiePath", "svl", "2", "domain and path of cookies"),
    ("ProxyPreserveHost", "svl", "1", "whether the client's Host goes upstream"),
    ("ProxyAddHeaders", "sv", "1", "whether X-Forwarded-For, -Host and -Server are added"),
    ("ProxyTimeout", "sv", "1", "time-outs towards upstreams"),
    ("ProxySourceAddress", "sv", "1", "`pool.local_address`: the address that connections are made from"),
    ("BalancerMember", "psv", "1+", "a server of an upstream"),
    ("ProxySet", "psv", "1+", "options of an upstream"),
    ("ProxyHCExpr ProxyHCTemplate", "sv", "1+", "what health checks look at; `hcmethod` of a member asks for them"),
    ("ProxyPassInherit", "sv", "1", "whether a virtual host has the `ProxyPass` of the server outside"),
    ("ProxyErrorOverride", "svl", "1+", "whether errors of upstreams are answered by our pages"),
    # Files and pages.
    ("DocumentRoot", "sv", "1", "the directory of what is not proxied"),
    ("Alias", "svl", "1-2", "a directory, or a file, for a path"),
    ("AliasMatch", "sv", "2", "the same with a regular expression"),
    ("ScriptAlias ScriptAliasMatch", "sv", "2", "403: programs are not run"),
    ("Directory DirectoryMatch", "sv", "1-2<", "who may see files, and fields of their answers; what is proxied is no file"),
    ("Files FilesMatch", "svd", "1-2<", "the same by the name of a file"),
    ("DirectoryIndex", "svld", "1+", "the file of a directory; what is outside of sections counts"),
    ("FallbackResource", "svd", "1", "the file that is shown where there is none"),
    ("AddType", "svld", "2+", "the type of files by the ends of their names"),
    ("SetHandler AddHandler ForceType AddOutputFilter", "svld", "1+", "`server-status`; an error where a file would be a program"),
    ("AllowOverride AllowOverrideList", "d", "1+", "an error where there is a `.htaccess`, since none is read"),
    ("AccessFileName", "sv", "1+", "the names of those files"),
    ("ErrorDocument", "svld", "2", "a text, a path or an address in the place of an error; also for the paths or the files of a section"),
    ("ProxyVia", "sv", "1", "`Off` is what vestibule does"),
    # Fields.
    ("Header", "svldp", "2+", "a field of the answer"),
    ("RequestHeader", "svldp", "2+", "a field of the request"),
    ("SetEnvIf SetEnvIfNoCase SetEnvIfExpr BrowserMatch BrowserMatchNoCase", "svl", "2+", "a variable, put in where `env=` asks for it"),
    ("SetEnv", "svl", "1-2", "a variable, put in where `env=` asks for it"),
    ("UnsetEnv", "svl", "1+", "a variable, put in where `env=` asks for it"),
    ("PassEnv", "svl", "1+", "a variable of the environment that the program was started in"),
    # Rewriting and redirects.
    ("RewriteEngine", "svdl", "1", "whether rules are looked at"),
    ("RewriteCond", "svdl", "2-3", "a condition of the rule below it"),
    ("RewriteRule", "svdl", "2-3", "a redirect, a new path, an upstream, or a refusal"),
    ("RewriteBase", "svld", "1", "where new paths of rules in `<Directory>` begin that have no slash in front"),
    ("RewriteMap", "sv", "2-3", "`txt:` and `rnd:` with a few keys, and `int:`"),
    ("RewriteOptions", "svld", "1+", "`Inherit` and its kin; others have no part here"),
    ("Redirect RedirectPermanent RedirectTemp", "svl", "1-3", "a redirect; only where no `ProxyPass` fits before it"),
    ("RedirectMatch", "svl", "1-3", "a redirect; only where no `ProxyPass` fits before it"),
    ("ExpiresActive", "svl", "1", "whether answers say until when they may be kept"),
    ("ExpiresByType", "svl", "2", "until when, by the media type"),
    ("ExpiresDefault", "svl", "1", "until when, for all others"),
    # Compression.
    ("AddOutputFilterByType SetOutputFilter", "svld", "1+", "`DEFLATE` and `BROTLI_COMPRESS`: gzip, for whole virtual hosts; `SUBSTITUTE`;"
     " `SetOutputFilter RATE_LIMIT`: the bytes per second of an answer, by the variable `rate-limit`"),
    ("Substitute", "svld", "1", "`s|text|other|ni`: another text in the place of one, where the filter `SUBSTITUTE` is put in"),
    ("DeflateCompressionLevel", "sv", "1", "how hard it is compressed"),
    # Who may.
    ("Require", "ldp", "1+", "403, or basic authentication"),
    ("RequireAll RequireAny RequireNone", "ldp", "0<", "joined requirements"),
    ("Satisfy", "ldp", "1", "the same as httpd 2.2 had it"),
    ("Order Allow Deny", "ldp", "1+", "the same as httpd 2.2 had it"),
    ("AllowMethods", "ldp", "1+", "by which methods may be asked; `reset` is all"),
    ("AuthMerging", "ldp", "1", "`And` and `Or`: what the sections around require counts, too; `Off`: it does not"),
    ("Limit LimitExcept", "ldp", "1+<", "requirements of some methods"),
    ("AuthType", "ldp", "1", "`Basic`"),
    ("AuthName", "ldp", "1", "the realm"),
    ("AuthUserFile", "ldp", "1", "the users"),
    ("AuthGroupFile", "ldp", "1", "groups of users"),
    ("AuthBasicProvider", "ldp", "1+", "`file`"),
    ("RemoteIPHeader", "sv", "1", "X-Forwarded-For, read from its end past trusted proxies"),
    ("RemoteIPInternalProxy RemoteIPTrustedProxy", "sv", "1+", "a trusted proxy, of the whole configuration"),
    ("RemoteIPProxyProtocol", "sv", "1", "a PROXY header at the beginning of each connection"),
    # TLS.
    ("SSLEngine", "sv", "1", "TLS on the site's listeners"),
    ("SSLCertificateFile", "sv", "1", "a certificate of the site"),
    ("SSLCertificateKeyFile", "sv", "1", "its key"),
    ("SSLProtocol", "sv", "1+", "the TLS profile of the listener, from 1.2 on"),
    ("SSLCipherSuite", "sv", "1-2", "the TLS profile of the listener"),
    ("SSLSessionTickets", "sv", "1", "whether sessions may be resumed"),
    ("SSLCACertificateFile", "sv", "1", "the authorities of client certificates"),
    ("SSLVerifyClient", "svl", "1",
     "`require`, `optional` or `optional_no_ca`; with the first two a certificate that is not accepted ends the handshake"),
    ("SSLRequireSSL", "ld", "0", "403 without TLS"),
    ("SSLRequire", "ld", "1+", "403 unless the expression holds"),
    ("SSLVerifyDepth", "sv", "1", "authorities above a client's certificate, the trusted one included; 1 unless said"),
    ("SSLCARevocationFile", "sv", "1", "revocation lists for client certificates"),
    ("SSLCARevocationCheck", "sv", "1-2", "`chain` or `none`"),
    ("SSLOpenSSLConfCmd", "sv", "2", "`Groups` and `Curves`: the TLS profile of the listener; other commands are left out"),
    ("SSLStrictSNIVHostCheck", "sv", "1", "`on` refuses a handshake for an unknown name"),
    ("SSLCertificateChainFile", "sv", "1", "the certificates of those who signed, in a file of their own"),
    ("MDomain", "s", "1+", "virtual hosts of these names get their certificates issued (ACME)"),
    ("MDContactEmail", "s", "1", "where issuers may write to"),
    ("MDCertificateAuthority", "s", "1", "who issues: `letsencrypt`, `letsencrypt-test` or the URL of a directory"),
    ("MDCACertificateFile", "s", "1", "who certifies the address of that issuer"),
    ("MDPrivateKeys", "s", "1+", "the kind of keys: `RSA`, or ECDSA"),
    ("MDCAChallenges", "s", "1+", "how names are proven: `http-01`, `tls-alpn-01`"),
    ("SSLProxyEngine", "sv", "1", "TLS towards upstreams"),
    ("SSLProxyVerify", "sv", "1", "whether the certificate of the upstream must be valid"),
    ("SSLProxyCheckPeerName SSLProxyCheckPeerCN", "sv", "1",
     "`Off` where the certificate is not looked at; where it is, its name is"),
    ("SSLProxyVerifyDepth", "sv", "1", "authorities above an upstream's certificate, the trusted one included; 1 unless said"),
    ("SSLProxyCARevocationFile", "sv", "1", "revocation lists for upstreams"),
    ("SSLProxyCARevocationCheck", "sv", "1-2", "`chain` or `none`"),
    ("SSLProxyCACertificateFile", "sv", "1", "the authorities for upstreams"),
    ("SSLProxyMachineCertificateFile", "sv", "1", "the client certificate shown to upstreams"),
    # Logs.
    ("CustomLog", "sv", "2-3", "the access log"),
    ("TransferLog", "sv", "1", "the access log"),
    ("GlobalLog", "s", "2-3", "a log besides those of each virtual host"),
    ("LogFormat", "sv", "1-2", "a template of the access log"),
)  # fmt: skip

_FILES = "files are shown as they are, and directories are not listed"

_ROWS += _rows(
    How.HARMLESS,
    ("MDCertificateAgreement", "s", "1", "by naming an issuer its terms are agreed to"),
    ("MDRenewMode MDRenewWindow MDWarnWindow MDDriveMode MDRetryDelay MDRetryFailover MDCheckInterval MDInitialDelay"
     " MDStoreLocks", "s", "1+",
     "certificates are renewed when the issuer advises it, or at a third of their life"),
    ("MDMembers MDMember MDBaseServer MDStoreDir MDHttpProxy MDPortMap MDServerStatus MDCertificateStatus MDCertificateMonitor MDNotifyCmd"
     " MDMessageCmd MDActivationDelay MDMatchNames", "s", "1+", "vestibule has its own way, and `vestibule status` tells what goes on"),
    ("MDStapling MDStapleOthers MDStaplingKeepResponse MDStaplingRenewWindow", "sv", "1", "issuers have ended it"),
    ("LoadModule LoadFile", "s", "1+", "vestibule has no modules"),
    ("ServerRoot DefaultRuntimeDir Mutex CoreDumpDirectory ServerLimit StartServers MinSpareServers MaxSpareServers MinSpareThreads"
     " MaxSpareThreads ThreadLimit ThreadsPerChild ThreadStackSize MaxRequestWorkers MaxConnectionsPerChild MaxClients"
     " MaxRequestsPerChild AsyncRequestWorkerFactor AcceptFilter AcceptMutex EnableMMAP EnableSendfile ReceiveBufferSize SendBufferSize"
     " ScoreBoardFile NameVirtualHost AddModuleInfo", "svd", "1+", "vestibule runs its processes its own way"),
    ("ServerAdmin ServerSignature ServerTokens TraceEnable UseCanonicalPhysicalPort HostnameLookups ContentDigest"
     " HttpProtocolOptions MergeSlashes AllowEncodedSlashes AddDefaultCharset FileETag ExtendedStatus ProtocolsHonorOrder"
     " H2Direct H2Push H2MaxSessionStreams H2ModernTLSOnly H2Upgrade H2WindowSize RegexDefaultOptions", "svld", "1+",
     "vestibule has one behaviour here, described in its documentation"),
    ("DirectorySlash Options IndexOptions AddEncoding AddLanguage TypesConfig MIMEMagicFile LanguagePriority"
     " ForceLanguagePriority AddIcon AddIconByType"
     " AddIconByEncoding DefaultIcon ReadmeName HeaderName IndexIgnore AddCharset RemoveHandler RemoveType"
     " ScriptSock CGIDScriptTimeout IndexStyleSheet UserDir MultiviewsMatch", "svld", "1+", _FILES),
    ("LimitRequestBody", "svld", "1", "httpd does not apply it to what is proxied either"),
    ("ProxyReceiveBufferSize ProxyIOBufferSize ProxyMaxForwards ProxyBadHeader ProxyStatus BalancerPersist BalancerGrowth"
     " BalancerInherit ProxyFtpDirCharset ProxyDomain NoProxy", "svlp", "1+",
     "vestibule has its own, safe choice here"),
    ("SSLSessionCache SSLSessionCacheTimeout SSLHonorCipherOrder SSLCompression SSLOptions SSLUseStapling SSLStaplingCache"
     " SSLStaplingResponderTimeout SSLStaplingReturnResponderErrors SSLRandomSeed SSLPassPhraseDialog"
     " SSLInsecureRenegotiation SSLProxyProtocol SSLProxyCipherSuite SSLProxyCheckPeerExpire SSLCryptoDevice"
     " SSLSessionTicketKeyFile SSLStaplingStandardCacheTimeout SSLProxyMachineCertificateChainFile", "svld", "1+",
     "vestibule has its own, safe choice here"),
    ("DeflateMemLevel DeflateWindowSize DeflateFilterNote FilterDeclare"
     " FilterProvider FilterChain BrotliCompressionQuality CacheEnable CacheDisable CacheRoot",
     "svld", "1+", "answers are passed on as the upstream made them"),
    ("LogLevelOverride BufferedLogs", "svld", "1+", "it has no part here"),
)  # fmt: skip

_LATER = "it is not built yet; take it out, or keep httpd for this part"

_ROWS += _rows(
    How.MISSING,
    ("ProxyRemote ProxyRemoteMatch ProxyBlock ProxyPassInterpolateEnv", "svl", "1+", _LATER),
    ("ProxyFCGISetEnvIf ProxyFCGIBackendType", "svld", "1+", "only HTTP upstreams are spoken to"),
    ("ProxyHTMLEnable ProxyHTMLURLMap AddInputFilter ExtFilterDefine", "svld", "1+",
     "bodies are not changed; have the application write its own addresses"),
    ("AuthDigestProvider AuthDigestDomain AuthFormProvider AuthLDAPURL AuthLDAPBindDN AuthLDAPBindPassword"
     " AuthDBDUserPWQuery OIDCProviderMetadataURL MellonEnable", "ldp", "1+", _LATER),
    ("LimitXMLRequestBody LimitInternalRecursion", "svld", "1+", _LATER),
    ("SSLCACertificatePath SSLProxyCACertificatePath SSLCARevocationPath SSLUserName"
     " SSLCADNRequestFile", "svld", "1", _LATER),
    ("MDChallengeDns01 MDChallengeDns01Version MDExternalAccountBinding MDCertificateFile MDCertificateKeyFile", "s", "1+",
     "declare it in TOML: `dns_providers`, `issuers`, `certificates`"),
    ("MDomainSet", "s", "1+<", "write `MDomain`"),
    ("MDRequireHttps", "s", "1", "write a virtual host on port 80 with `Redirect permanent / https://name/`"),
    ("MDMustStaple", "s", "1", "issuers have ended it"),
    ("ServerPath", "v", "1", _LATER),
    ("RemoteIPInternalProxyList RemoteIPTrustedProxyList RemoteIPProxiesHeader RemoteIPProxyProtocolExceptions", "sv", "1+", _LATER),
    ("QS_SrvMaxConnPerIP SecRuleEngine SecRule DOSHashTableSize", "svld", "1+", "requests are not inspected"),
    ("WSGIScriptAlias WSGIDaemonProcess PassengerRoot PHPIniDir php_value php_flag php_admin_value php_admin_flag", "svld", "1+",
     "applications are not run here; proxy to them"),
)  # fmt: skip

_ROWS += _rows(How.HARMLESS, *directives_others.LEFT_OUT) + _rows(How.MISSING, *directives_others.MISSING)

DIRECTIVES: dict[str, Row] = {row.name.lower(): row for row in _ROWS}
