//! Object stores of the cloud, through the crate `object_store`: S3 and what speaks like it,
//! Azure, Google.

use std::future::Future;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error as StoreError, ObjectStore, ObjectStoreExt, PutPayload,
    RetryConfig,
};

use tsdb::tier::{Connector, FolderConnector, Objects, Source, check_name, span};

/// An object up to this long is put by one request, bytes.
const PART_BYTES: u64 = 8 << 20;
/// Parts of one object at most; S3 takes 10,000.
const PARTS_MAX: u64 = 9_000;

/// Opens stores by URL: `file:///folder`, `s3://bucket/prefix`, `az://container/prefix`,
/// `gs://bucket/prefix`.
///
/// Keys, regions and endpoints come from the variables that these clouds' own tools read, such
/// as `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`, `AWS_REGION`, `AWS_ENDPOINT` (with
/// `AWS_ALLOW_HTTP=true` for one without TLS), `AZURE_STORAGE_ACCOUNT_NAME`,
/// `GOOGLE_SERVICE_ACCOUNT`; they are never part of a URL, which is stored and shown.
#[derive(Clone, Debug)]
pub struct CloudConnector {
    /// How often a request that failed is tried again. Default 4.
    pub retries_max: usize,
    /// How long one request is tried, its repetitions included. Default 30 s.
    pub patience: Duration,
}

impl Default for CloudConnector {
    fn default() -> CloudConnector {
        CloudConnector { retries_max: 4, patience: Duration::from_secs(30) }
    }
}

impl Connector for CloudConnector {
    fn connect(&self, url: &str) -> io::Result<Arc<dyn Objects>> {
        let refuse = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(refuse(format!(
                "{url:?} is not the URL of an object store, such as file:///srv/archive or \
                 s3://bucket/folder"
            )));
        };
        if scheme == "file" {
            return FolderConnector.connect(url);
        }
        // A key in a URL would end up in logs, catalogues and backups.
        if rest.contains(['@', '?', '#']) {
            return Err(refuse(
                "the URL of an object store may hold neither keys nor parameters; give them as \
                 variables, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
                    .to_owned(),
            ));
        }
        let store = self
            .store(scheme, url)
            .map_err(|error| refuse(format!("the object store {url} cannot be used: {error}")))?
            .ok_or_else(|| {
                refuse(format!(
                    "{url:?}: no such kind of object store as {scheme}; there are file, s3, az, gs"
                ))
            })?;
        let below = rest.split_once('/').map_or("", |(_, below)| below.trim_matches('/'));
        if !below.is_empty() {
            check_name(below)?;
        }
        Ok(Arc::new(CloudObjects {
            url: url.trim_end_matches('/').to_owned(),
            below: below.to_owned(),
            store,
            runtime: runtime()?,
        }))
    }
}

impl CloudConnector {
    fn store(&self, scheme: &str, url: &str) -> Result<Option<Arc<dyn ObjectStore>>, StoreError> {
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(100),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: self.retries_max,
            retry_timeout: self.patience,
        };
        let client = ClientOptions::new()
            .with_timeout(self.patience)
            .with_connect_timeout(self.patience.min(Duration::from_secs(5)));
        // What the variables say of the client, plain HTTP above all, is kept.
        let allow_http = |name: &str| {
            std::env::var(name).is_ok_and(|value| matches!(value.as_str(), "true" | "1"))
        };
        Ok(Some(match scheme {
            "s3" => Arc::new(
                object_store::aws::AmazonS3Builder::from_env()
                    .with_url(url)
                    .with_retry(retry)
                    .with_client_options(client.with_allow_http(allow_http("AWS_ALLOW_HTTP")))
                    .build()?,
            ),
            "az" => Arc::new(
                object_store::azure::MicrosoftAzureBuilder::from_env()
                    .with_url(url)
                    .with_retry(retry)
                    .with_client_options(client.with_allow_http(allow_http("AZURE_ALLOW_HTTP")))
                    .build()?,
            ),
            "gs" => Arc::new(
                object_store::gcp::GoogleCloudStorageBuilder::from_env()
                    .with_url(url)
                    .with_retry(retry)
                    .with_client_options(client)
                    .build()?,
            ),
            _ => return Ok(None),
        }))
    }
}

/// The runtime that requests run on. One for all stores: callers block on any thread, workers of
/// other runtimes among them, where a runtime of their own would panic.
fn runtime() -> io::Result<tokio::runtime::Handle> {
    static RUNTIME: std::sync::Mutex<Option<tokio::runtime::Runtime>> = std::sync::Mutex::new(None);
    let mut runtime = RUNTIME.lock().map_err(|_| io::Error::other("an earlier start failed"))?;
    if let Some(runtime) = runtime.as_ref() {
        return Ok(runtime.handle().clone());
    }
    let started = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name("objects")
        .enable_all()
        .build()?;
    let handle = started.handle().clone();
    *runtime = Some(started);
    Ok(handle)
}

/// A store of the cloud, below a prefix.
#[derive(Debug)]
struct CloudObjects {
    url: String,
    below: String,
    store: Arc<dyn ObjectStore>,
    runtime: tokio::runtime::Handle,
}

impl CloudObjects {
    fn path(&self, name: &str) -> io::Result<Path> {
        check_name(name)?;
        let whole = match self.below.as_str() {
            "" => name.to_owned(),
            below => format!("{below}/{name}"),
        };
        Path::parse(whole).map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))
    }

    /// Runs a request on the runtime and waits for it.
    fn wait<T, F>(&self, doing: &str, name: &str, request: F) -> io::Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, StoreError>> + Send + 'static,
    {
        let (sender, receiver) = std::sync::mpsc::sync_channel(1);
        self.runtime.spawn(async move {
            // Nobody waits any more only if the caller's thread is gone.
            let _ = sender.send(request.await);
        });
        let what = || format!("{doing} {}/{name}", self.url);
        match receiver.recv() {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(told(&what(), &error)),
            Err(_) => Err(io::Error::other(format!("{}: the request broke off", what()))),
        }
    }

    fn put_whole(&self, name: &str, path: Path, data: &mut dyn Source) -> io::Result<()> {
        let len = data.len();
        let bytes = read_piece(data, 0, len)?;
        let store = Arc::clone(&self.store);
        self.wait("writing", name, async move { store.put(&path, bytes.into()).await.map(drop) })
    }

    fn put_in_parts(&self, name: &str, path: Path, data: &mut dyn Source) -> io::Result<()> {
        let store = Arc::clone(&self.store);
        let mut upload =
            self.wait("writing", name, async move { store.put_multipart(&path).await })?;
        // All parts but the last of one length: some stores ask for it.
        let all = data.len();
        let part = PART_BYTES.max(all.div_ceil(PARTS_MAX));
        let mut offset = 0;
        let mut sent = Ok(());
        while sent.is_ok() && offset < all {
            let len = part.min(all - offset);
            sent = read_piece(data, offset, len).and_then(|bytes| {
                self.wait("writing", name, upload.put_part(PutPayload::from(bytes)))
            });
            offset += len;
        }
        self.wait("writing", name, async move {
            if sent.is_ok() {
                let completed = upload.complete().await.map(drop);
                if completed.is_err() {
                    give_up(upload.as_mut()).await;
                }
                completed.map(|()| sent)
            } else {
                give_up(upload.as_mut()).await;
                Ok(sent)
            }
        })?
    }
}

/// Tells the store to forget the parts it has. If it does not hear it, they stay, unseen by
/// readers, until the store's own rule for unfinished uploads takes them.
async fn give_up(upload: &mut dyn object_store::MultipartUpload) {
    if let Err(error) = upload.abort().await {
        tracing::warn!(%error, "an unfinished upload may be left at the object store");
    }
}

fn read_piece(data: &mut dyn Source, offset: u64, len: u64) -> io::Result<Vec<u8>> {
    let len = usize::try_from(len).map_err(|_| io::ErrorKind::InvalidInput)?;
    let mut bytes = vec![0; len];
    data.read_at(offset, &mut bytes)?;
    Ok(bytes)
}

/// The error as one of input and output, with what was being done.
fn told(doing: &str, error: &StoreError) -> io::Error {
    let kind = match error {
        StoreError::NotFound { .. } => io::ErrorKind::NotFound,
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            io::ErrorKind::PermissionDenied
        }
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, format!("{doing}: {error}"))
}

impl Objects for CloudObjects {
    fn put(&self, name: &str, data: &mut dyn Source) -> io::Result<()> {
        let path = self.path(name)?;
        if data.len() <= PART_BYTES {
            self.put_whole(name, path, data)
        } else {
            self.put_in_parts(name, path, data)
        }
    }

    fn get(&self, name: &str, range: Range<u64>) -> io::Result<Vec<u8>> {
        let path = self.path(name)?;
        let len = span(&range)?;
        let found = if len == 0 {
            // Stores refuse to read no bytes.
            if self.size(name)? < range.end { None } else { Some(Vec::new()) }
        } else {
            let (store, asked) = (Arc::clone(&self.store), range.clone());
            let got = self.wait("reading", name, async move {
                store.get_range(&path, asked).await.map(Vec::from)
            });
            match got {
                Ok(bytes) if bytes.len() == len => Some(bytes),
                Ok(_) => None,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(error),
                // A range past the end is refused in as many ways as there are stores.
                Err(error) => match self.size(name) {
                    Ok(size) if size < range.end => None,
                    _ => return Err(error),
                },
            }
        };
        found.ok_or_else(|| {
            let why = format!("{}/{name} ends before byte {}", self.url, range.end);
            io::Error::new(io::ErrorKind::UnexpectedEof, why)
        })
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        let path = self.path(name)?;
        let store = Arc::clone(&self.store);
        self.wait("asking for", name, async move { store.head(&path).await.map(|m| m.size) })
    }

    fn list(&self, prefix: &str) -> io::Result<Vec<(String, u64)>> {
        // Stores list by whole parts of names, so the last one is picked out here.
        let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
        let place = match folder {
            "" if self.below.is_empty() => None,
            "" => Some(self.below.clone()),
            folder => Some(self.path(folder)?.to_string()),
        };
        let place = place
            .map(Path::parse)
            .transpose()
            .map_err(|e| io::Error::new(io::ErrorKind::InvalidInput, e))?;
        let store = Arc::clone(&self.store);
        let all: Vec<object_store::ObjectMeta> =
            self.wait(
                "listing",
                prefix,
                async move { store.list(place.as_ref()).try_collect().await },
            )?;
        let cut = if self.below.is_empty() { 0 } else { self.below.len() + 1 };
        let named = all.iter().filter_map(|m| Some((m.location.as_ref().get(cut..)?, m.size)));
        let mut found: Vec<_> = named
            .filter(|(name, _)| name.starts_with(prefix))
            .map(|(name, size)| (name.to_owned(), size))
            .collect();
        found.sort_unstable();
        Ok(found)
    }

    fn delete(&self, name: &str) -> io::Result<()> {
        let path = self.path(name)?;
        let store = Arc::clone(&self.store);
        match self.wait("deleting", name, async move { store.delete(&path).await }) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }
}

#[cfg(test)]
mod tests;
