//! TLS and mTLS with files that are replaced while the server runs: each handshake uses the files as they are.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::bridge::{Level, lock};
use crate::server::Server;
use crate::wire::Socket;

pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    /// Set: clients must show a certificate that it signed.
    pub client_ca: Option<PathBuf>,
}

/// How files tell that they have changed.
type Stamp = Vec<Option<(SystemTime, u64, u64)>>;

pub struct Certificates {
    files: Files,
    current: Mutex<Current>,
}

struct Current {
    stamp: Stamp,
    contents: Vec<Vec<u8>>,
    config: Arc<ServerConfig>,
}

impl Certificates {
    /// Err: what is wrong with the files, for a person.
    pub fn open(files: Files) -> Result<Certificates, String> {
        let stamp = files.stamp();
        let contents = files.read()?;
        let config = Arc::new(files.config()?);
        Ok(Certificates { files, current: Mutex::new(Current { stamp, contents, config }) })
    }

    /// Shake hands: the connection, and the names in the client's certificate.
    pub async fn accept(&self, server: &Server, socket: Box<dyn Socket>) -> io::Result<(Box<dyn Socket>, Vec<Vec<u8>>)> {
        let connection = TlsAcceptor::from(self.config(server)).accept(socket).await?;
        let identities = match connection.get_ref().1.peer_certificates() {
            Some([first, ..]) => identities(first),
            _ => Vec::new(),
        };
        Ok((Box::new(connection), identities))
    }

    /// The configuration of the files as they are now, or of the last ones that were right.
    fn config(&self, server: &Server) -> Arc<ServerConfig> {
        let mut current = lock(&self.current);
        let stamp = self.files.stamp();
        if stamp != current.stamp {
            current.stamp = stamp;
            match self.files.read().and_then(|contents| Ok((self.files.config()?, contents))) {
                Ok((_, contents)) if contents == current.contents => {}
                Ok((config, contents)) => {
                    current.config = Arc::new(config);
                    current.contents = contents;
                    server.log(Level::Info, "certificate reloaded", "");
                }
                Err(wrong) => server.log(Level::Warning, "keeping the old certificate", wrong),
            }
        }
        current.config.clone()
    }
}

impl Files {
    fn paths(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.certificate, &self.key].into_iter().chain(&self.client_ca)
    }

    fn stamp(&self) -> Stamp {
        use std::os::unix::fs::MetadataExt;
        self.paths()
            .map(|path| fs::metadata(path).ok().and_then(|found| Some((found.modified().ok()?, found.len(), found.ino()))))
            .collect()
    }

    fn read(&self) -> Result<Vec<Vec<u8>>, String> {
        let unreadable = |path: &PathBuf, error: io::Error| {
            format!("a TLS file cannot be read: {error}: {}", path.file_name().unwrap_or_default().to_string_lossy())
        };
        self.paths().map(|path| fs::read(path).map_err(|error| unreadable(path, error))).collect()
    }

    fn config(&self) -> Result<ServerConfig, String> {
        let chain = certificates(&self.certificate)?;
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|wrong| format!("the TLS key is not a PEM key: {wrong}"))?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|wrong| wrong.to_string())?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => {
                let mut roots = RootCertStore::empty();
                for certificate in certificates(path)? {
                    roots.add(certificate).map_err(|wrong| format!("client_ca is not a certificate that signs: {wrong}"))?;
                }
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                builder.with_client_cert_verifier(verifier.build().map_err(|wrong| format!("client_ca cannot be used: {wrong}"))?)
            }
        };
        let mut config =
            builder.with_single_cert(chain, key).map_err(|wrong| format!("the TLS certificate and key do not belong together: {wrong}"))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

fn certificates(path: &PathBuf) -> Result<Vec<CertificateDer<'static>>, String> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
    match found {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err("a TLS file has no certificate".into()),
        Err(wrong) => Err(format!("a TLS file has no PEM certificate: {wrong}")),
    }
}

/// The alternative names in a certificate, as they come; its common names where there is none.
fn identities(certificate: &[u8]) -> Vec<Vec<u8>> {
    let Ok((_, parsed)) = X509Certificate::from_der(certificate) else { return Vec::new() };
    let names: Vec<Vec<u8>> = match parsed.subject_alternative_name() {
        Ok(Some(alternatives)) => alternatives.value.general_names.iter().filter_map(alternative).collect(),
        _ => Vec::new(),
    };
    if names.is_empty() {
        return parsed.subject().iter_common_name().map(|name| name.as_slice().to_vec()).collect();
    }
    names
}

fn alternative(name: &GeneralName<'_>) -> Option<Vec<u8>> {
    match name {
        GeneralName::DNSName(text) | GeneralName::RFC822Name(text) | GeneralName::URI(text) => Some(text.as_bytes().to_vec()),
        GeneralName::IPAddress(bytes) => match <[u8; 4]>::try_from(*bytes) {
            Ok(four) => Some(std::net::Ipv4Addr::from(four).to_string().into_bytes()),
            Err(_) => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*bytes).ok()?).to_string().into_bytes()),
        },
        _ => None,
    }
}
