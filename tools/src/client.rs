//! How commands reach a running server: addresses, user and password.

use clap::Args;

use crate::failure::{Failure, Result};
use crate::http::{Client, Target};

/// Where the server is and who asks.
#[derive(Args, Clone, Debug)]
pub struct Connection {
    /// HTTP address of the server.
    #[arg(long, env = "MILLRACE_URL", default_value = "http://127.0.0.1:8080", global = false)]
    pub url: String,
    /// Postgres address of the server, host:port.
    #[arg(long, env = "MILLRACE_PG", default_value = "127.0.0.1:5433")]
    pub pg: String,
    /// User.
    #[arg(long, env = "MILLRACE_USER", default_value = "admin")]
    pub user: String,
    /// Password; the variable keeps it out of the process list.
    #[arg(long, env = "MILLRACE_PASSWORD", hide_env_values = true)]
    pub password: Option<String>,
}

impl Connection {
    /// The password, or words on how to give it. `MILLRACE_ADMIN_PASSWORD` serves for `admin`.
    pub fn password(&self) -> Result<String> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        match std::env::var("MILLRACE_ADMIN_PASSWORD") {
            Ok(password) if self.user == "admin" && !password.is_empty() => Ok(password),
            _ => Err(Failure::usage(
                "a password is needed: set MILLRACE_PASSWORD or give --password",
            )),
        }
    }

    /// A client of the HTTP side.
    pub fn http(&self) -> Result<Client> {
        let target = Target::parse(&self.url).map_err(Failure::usage)?;
        Ok(Client::new(target, &self.user, &self.password()?))
    }

    /// A connection of the Postgres side; its task ends with the client.
    pub async fn postgres(&self) -> Result<tokio_postgres::Client> {
        let (host, port) = self
            .pg
            .rsplit_once(':')
            .and_then(|(host, port)| Some((host, port.parse::<u16>().ok()?)))
            .ok_or_else(|| Failure::usage(format!("`{}` is not host:port", self.pg)))?;
        let mut config = tokio_postgres::Config::new();
        config
            .host(host.trim_matches(['[', ']']))
            .port(port)
            .dbname("millrace")
            .user(&self.user)
            .password(self.password()?)
            .application_name("millrace")
            .ssl_mode(tokio_postgres::config::SslMode::Disable);
        let (client, connection) =
            config.connect(tokio_postgres::NoTls).await.map_err(|error| {
                Failure::doing(format!("connecting to {}", self.pg), Failure::from(error))
            })?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "the connection to the server ended");
            }
        });
        Ok(client)
    }
}
