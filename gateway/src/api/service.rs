//! From a request to its call.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::Router;
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use prometheus_client::metrics::counter::Counter;
use tower::{Service, ServiceExt as _};

use super::{ApiState, guard, publish, router};
use crate::metrics::RequestLabel;
use crate::transport::meaning;

const PUBLISH: &str = "/v1/publish";

/// Answers the API's requests. The call that nearly all of them are for has a
/// way of its own: the router boxes and clones for each layer that a request
/// passes (docs/decisions/api-path.md). Both ways have the same checks, counts
/// and answers.
#[derive(Clone)]
pub struct ApiService {
    state: ApiState,
    router: Router,
    /// Publishes that went well, found once.
    published: Counter,
}

// === impl ApiService ===

impl ApiService {
    /// Of all calls.
    pub fn new(state: ApiState) -> Self {
        let label =
            RequestLabel { route: PUBLISH.to_owned(), method: "POST".to_owned(), status: 200 };
        let published = state.metrics.api_requests.get_or_create(&label).clone();
        Self { router: router(state.clone()), state, published }
    }

    async fn publish(self, request: Request<Incoming>) -> Response {
        let call = async {
            let (parts, body) = request.into_parts();
            if let Err(refusal) = guard::check_host(&self.state, &parts.headers, &parts.uri) {
                return refusal.into_response();
            }
            publish::answer_publish(&self.state, &parts.headers, body).await.into_response()
        };
        let response = guard::caught(PUBLISH, call).await;
        if response.status().is_success() {
            self.published.inc();
        } else {
            guard::count_answer(&self.state, PUBLISH, &Method::POST, &response);
        }
        response
    }
}

impl Service<Request<Incoming>> for ApiService {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let service = self.clone();
        // One that could be read in two ways is refused where all are.
        let plain = meaning::doubt(request.version(), request.headers()).is_none();
        if plain && request.method() == Method::POST && request.uri().path() == PUBLISH {
            return Box::pin(async move { Ok(service.publish(request).await) });
        }
        Box::pin(async move { service.router.oneshot(request).await })
    }
}
