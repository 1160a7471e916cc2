//! Links that let whoever has them read one object, for a time.

use super::{Error, Store, parse};
use http::Method;
use object_store::path::Path;
use std::time::Duration;
use url::Url;

impl Store {
    /// How long signed links can work at most; none if the store has no limit of its own. What signs them may end sooner.
    pub fn longest_link(&self) -> Option<Duration> {
        self.0.signing.as_ref().and_then(|signing| signing.longest)
    }

    /// Whether objects are files of this machine, whose links are paths that never expire.
    pub fn is_local(&self) -> bool {
        self.0.directory.is_some()
    }

    /// A link to an object that works without credentials for `expires`; the URL of the file in a local directory. Whether
    /// the object is there is not looked at.
    ///
    /// # Errors
    /// [`Error::Key`]; [`Error::Remote`] if these credentials cannot sign.
    pub async fn link(&self, key: &str, expires: Duration) -> Result<Url, Error> {
        let path = parse(key)?;
        if let Some(directory) = &self.0.directory {
            let file = Url::from_file_path(directory.join(path.as_ref()));
            return file.map_err(|()| Error::Key { key: key.to_owned(), reason: "it is no path of a file".to_owned() });
        }
        let signing = self.0.signing.as_ref().expect("what is no directory can sign");
        let path: Path = signing.prefix.parts().chain(path.parts()).collect();
        let link = signing.signer.signed_url(Method::GET, &path, expires).await;
        link.map_err(|e| self.remote("signing a link to", key, &e))
    }
}
