"""The rest of httpd's manual: directives that have no part in what vestibule does, and those that it cannot do.

Rules: what limits or protects is an error if it is left out, never a warning.

Not here: what is supported, and what people have in front of applications (``directives``).
"""

from __future__ import annotations

_SPEED = "vestibule runs its processes its own way"
_FILES = "files are shown as they are, and directories are not listed"
_CACHE = "answers are not kept; without a store nothing is"
_OUTSIDE = "keep httpd for this part, or have the application do it"

LEFT_OUT: tuple[tuple[str, str, str, str], ...] = (
    ("AcceptPathInfo CGIPassAuth CGIVar DefaultType ErrorLogFormat FlushMaxPipelined FlushMaxThreshold MaxMemFree MaxRangeOverlaps"
     " MaxRangeReversals MaxRanges MergeTrailers Port Protocol QualifyRedirectURL RLimitCPU RLimitMEM RLimitNPROC ReadBufferSize"
     " RegisterHttpMethod SeeRequestTail ListenCoresBucketsRatio ListenTCPDeferAccept WatchdogInterval HeartbeatAddress"
     " Suexec BufferSize KeptBodySize", "svldp", "1+", _SPEED),
    ("AddAlt AddAltByEncoding AddAltByType AddDescription FancyIndexing IndexHeadInsert IndexIgnoreReset IndexOrderDefault"
     " DirectoryCheckHandler DefaultLanguage ModMimeUsePathInfo RemoveCharset RemoveEncoding RemoveInputFilter RemoveLanguage"
     " RemoveOutputFilter CacheNegotiatedDocs MetaDir MetaFiles MetaSuffix CheckBasenameMatch CheckCaseOnly CheckSpelling"
     " ImapBase ImapDefault ImapMenu CacheFile MMapFile XBitHack SSIEndTag SSIErrorMsg SSIEtag SSILastModified SSILegacyExprParser"
     " SSIStartTag SSITimeFormat SSIUndefinedEcho CGIScriptTimeout ScriptLog ScriptLogBuffer ScriptLogLength", "svld", "1+",
     _FILES),
    ("BrotliAlterETag BrotliCompressionMaxInputBlock BrotliCompressionWindow BrotliFilterNote DeflateAlterEtag DeflateBufferSize"
     " DeflateInflateLimitRequestBody DeflateInflateRatioBurst DeflateInflateRatioLimit FilterProtocol FilterTrace", "svld", "1+",
     "compression is by gzip, with zlib's own buffers"),
    ("CacheDefaultExpire CacheDetailHeader CacheHeader CacheIgnoreCacheControl CacheIgnoreHeaders CacheIgnoreNoLastMod"
     " CacheIgnoreQueryString CacheIgnoreURLSessionIdentifiers CacheKeyBaseURL CacheLastModifiedFactor CacheLock CacheLockMaxAge"
     " CacheLockPath CacheMaxExpire CacheMinExpire CacheQuickHandler CacheStaleOnError CacheStoreExpired CacheStoreNoStore"
     " CacheStorePrivate CacheDirLength CacheDirLevels CacheMaxFileSize CacheMinFileSize CacheReadSize CacheReadTime CacheSocache"
     " CacheSocacheMaxSize CacheSocacheMaxTime CacheSocacheMinTime CacheSocacheReadSize CacheSocacheReadTime", "svld", "1+", _CACHE),
    ("H2CopyFiles H2EarlyHint H2EarlyHints H2MaxDataFrameLen H2MaxHeaderBlockLen H2MaxStreamErrors H2MaxWorkerIdleSeconds H2MaxWorkers"
     " H2MinWorkers H2OutputBuffering H2Padding H2ProxyRequests H2PushDiarySize H2PushPriority H2PushResource H2SerializeHeaders"
     " H2SessionExtraFiles H2StreamMaxMemSize H2StreamTimeout H2TLSCoolDownSecs H2TLSWarmUpSize H2WebSockets", "svld", "1+",
     "HTTP/2 has one behaviour here, described in the documentation"),
    ("LogIOTrackTTFB LogMessage ForensicLog DumpIOInput DumpIOOutput IdentityCheck IdentityCheckTimeout", "svld", "0+",
     "the logs are those of `CustomLog` and `ErrorLog`"),
    ("CookieDomain CookieExpires CookieHttpOnly CookieName CookieSameSite CookieSecure CookieStyle CookieTracking", "svld", "1+",
     "visitors are not counted"),
    ("Proxy100Continue ProxyHCTPsize ProxyWebsocketFallbackToProxyHttp ProxyFtpEscapeWildcards ProxyFtpListOnWildcard"
     " ProxyHTMLBufSize ProxyHTMLCharsetOut ProxyHTMLDoctype ProxyHTMLEvents ProxyHTMLFixups ProxyHTMLInterp ProxyHTMLLinks ProxyHTMLMeta"
     " ProxyHTMLStripComments ProxyHTMLExtended xml2EncAlias xml2EncDefault xml2StartParse SubstituteInheritBefore"
     " SubstituteMaxLineLength", "svld", "1+", "it is about something that is not done here"),
    ("SSLLog SSLLogLevel SSLRenegBufferSize SSLStaplingErrorCacheTimeout SSLStaplingFakeTryLater SSLStaplingForceURL"
     " SSLStaplingResponseMaxAge SSLStaplingResponseTimeSkew SSLVHostSNIPolicy", "svld", "1+", "vestibule has its own, safe choice here"),
    ("MDCertificateCheck MDCertificateProtocol MDHttpProxyCACertificateFile MDProfile MDProfileMandatory MDRenewViaARI", "s", "1+",
     "certificates are got with settings of our own"),
    ("AuthBasicAuthoritative AuthBasicUseDigestAlgorithm AuthnCacheContext AuthnCacheEnable AuthnCacheProvideFor AuthnCacheSOCache"
     " AuthnCacheTimeout AuthzSendForbiddenOnFailure", "svldp", "1+", "users come from one file"),
    ("LDAPCacheEntries LDAPCacheTTL LDAPConnectionPoolTTL LDAPConnectionTimeout LDAPLibraryDebug LDAPOpCacheEntries LDAPOpCacheTTL"
     " LDAPReferralHopLimit LDAPReferrals LDAPRetries LDAPRetryDelay LDAPSharedCacheFile LDAPSharedCacheSize LDAPTimeout"
     " LDAPTrustedClientCert LDAPTrustedGlobalCert LDAPTrustedMode LDAPVerifyServerCert MemcacheConnTTL RedisConnPoolTTL RedisTimeout"
     " DBDExptime DBDInitSQL DBDKeep DBDMax DBDMin DBDParams DBDPersist DBDPrepareSQL DBDriver DAVLockDB DAVGenericLockDB DAVBasePath"
     " DAVDepthInfinity DAVLockDiscovery DAVMinTimeout MacroIgnoreBadNesting MacroIgnoreEmptyArgs", "svldp", "0+",
     "it sets up what is not used here"),
)  # fmt: skip

MISSING: tuple[tuple[str, str, str, str], ...] = (
    ("StrictHostCheck", "sv", "1", "write a first virtual host that refuses what the others are not for"),
    ("AliasPreservePath RedirectRelative DirectoryIndexRedirect", "svld", "1+", "write the whole address"),
    ("SetInputFilter ExtFilterOptions InputSed OutputSed CaseFilter CaseFilterIn CharsetDefault CharsetOptions CharsetSourceEnc"
     " ReflectorHeader ProtocolEcho", "svld", "1+", "bodies are not changed; have the application do it"),
    ("AuthDigestAlgorithm AuthDigestNcCheck AuthDigestNonceLifetime AuthDigestQop AuthDigestShmemSize", "svldp", "1+",
     "write `AuthType Basic`, over TLS"),
    ("AuthFormAuthoritative AuthFormBody AuthFormDisableNoStore AuthFormFakeBasicAuth AuthFormLocation AuthFormLoginRequiredLocation"
     " AuthFormLoginSuccessLocation AuthFormLogoutLocation AuthFormMethod AuthFormMimetype AuthFormPassword AuthFormSitePassphrase"
     " AuthFormSize AuthFormUsername Anonymous Anonymous_LogEmail Anonymous_MustGiveEmail Anonymous_NoUserId Anonymous_VerifyEmail"
     " AuthDBDUserRealmQuery AuthDBMType AuthDBMUserFile AuthnzFcgiCheckAuthnProvider AuthnzFcgiDefineProvider AuthBasicFake"
     " AuthLDAPAuthorizePrefix AuthLDAPBindAuthoritative AuthLDAPCharsetConfig AuthLDAPCompareAsUser AuthLDAPCompareDNOnServer"
     " AuthLDAPDereferenceAliases AuthLDAPGroupAttribute AuthLDAPGroupAttributeIsDN AuthLDAPInitialBindAsUser"
     " AuthLDAPInitialBindPattern AuthLDAPMaxSubGroupDepth AuthLDAPRemoteUserAttribute AuthLDAPRemoteUserIsDN AuthLDAPSearchAsUser"
     " AuthLDAPSubGroupAttribute AuthLDAPSubGroupClass AuthzDBDLoginToReferer AuthzDBDQuery AuthzDBDRedirectQuery AuthDBMGroupFile"
     " AuthzDBMType", "svldp", "1+", "write `AuthType Basic` with `AuthUserFile`"),
    ("AuthnProviderAlias AuthzProviderAlias", "s", "1+<", "write `AuthType Basic` with `AuthUserFile`, and `Require` where it is needed"),
    ("DAV", "ld", "1", _OUTSIDE),
    ("AllowCONNECT ProxyExpressDBMFile ProxyExpressDBMType ProxyExpressEnable ProxySCGIInternalRedirect ProxySCGISendfile", "sv", "1+",
     "vestibule is a reverse proxy for HTTP"),
    ("LuaAuthzProvider LuaCodeCache LuaHookAccessChecker LuaHookAuthChecker LuaHookCheckUserID LuaHookFixups LuaHookInsertFilter LuaHookLog"
     " LuaHookMapToStorage LuaHookPreTranslateName LuaHookTranslateName LuaHookTypeChecker LuaInherit LuaInputFilter LuaMapHandler"
     " LuaOutputFilter LuaPackageCPath LuaPackagePath LuaQuickHandler LuaRoot LuaScope", "svld", "1+", "programs are not run"),
    ("Session SessionEnv SessionExclude SessionExpiryUpdateInterval SessionHeader SessionInclude SessionMaxAge SessionCookieName"
     " SessionCookieName2 SessionCookieRemove SessionCryptoCipher SessionCryptoDriver SessionCryptoPassphrase"
     " SessionCryptoPassphraseFile SessionDBDCookieName SessionDBDCookieName2 SessionDBDCookieRemove SessionDBDDeleteLabel"
     " SessionDBDInsertLabel SessionDBDPerUser SessionDBDSelectLabel SessionDBDUpdateLabel", "svld", "1+", _OUTSIDE),
    ("SSLCADNRequestPath SSLOCSPDefaultResponder SSLOCSPEnable SSLOCSPNoVerify SSLOCSPOverrideResponder SSLOCSPProxyURL"
     " SSLOCSPResponderCertificateFile SSLOCSPResponderTimeout SSLOCSPResponseMaxAge SSLOCSPResponseTimeSkew SSLOCSPUseRequestNonce"
     " SSLProxyCARevocationPath SSLProxyMachineCertificatePath SSLSRPUnknownUserSeed SSLSRPVerifierFile", "sv", "1+",
     "name files, and use revocation lists"),
    ("Action Script", "svld", "2-3", "programs are not run; proxy to them"),
    ("SSLFIPS", "s", "1", "have the TLS library of the machine configured for it"),
    ("ChrootDir", "s", "1", "have the service manager do it"),
    ("VirtualDocumentRoot VirtualDocumentRootIP VirtualScriptAlias VirtualScriptAliasIP", "sv", "1", "write a virtual host for each name"),
)  # fmt: skip
