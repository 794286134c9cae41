//! Bodies, queries and paths of calls. What cannot be read is refused as a problem document, like every other error.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{FromRequest, FromRequestParts, Path as AxumPath, Query as AxumQuery, Request};
use axum::http::request::Parts as Head;
use serde::de::DeserializeOwned;

use super::Shared;
use super::errors::Problem;
use crate::edge::Correlation;

/// A JSON body of type `T`.
pub(super) struct Body<T>(pub(super) T);

/// Query parameters of type `T`.
pub(super) struct Query<T>(pub(super) T);

/// A part of the path.
pub(super) struct Path<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Shared> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, shared: &Shared) -> Result<Self, Problem> {
        let correlation = correlation(request.extensions().get());
        let read: Result<Json<T>, JsonRejection> = Json::from_request(request, shared).await;
        match read {
            Ok(Json(body)) => Ok(Self(body)),
            Err(error) => {
                let hint = "send the JSON that docs/errors.md and `sallyport --help` describe, with content-type application/json";
                Err(Problem::new(&correlation, error.status(), "bad-body", error.body_text(), hint))
            }
        }
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, shared: &Shared) -> Result<Self, Problem> {
        let correlation = correlation(head.extensions.get());
        let read: Result<AxumQuery<T>, QueryRejection> = AxumQuery::from_request_parts(head, shared).await;
        match read {
            Ok(AxumQuery(query)) => Ok(Self(query)),
            Err(error) => {
                let hint = "leave out parameters that this path does not have";
                Err(Problem::new(&correlation, error.status(), "bad-query", error.body_text(), hint))
            }
        }
    }
}

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Path<T> {
    type Rejection = Problem;

    async fn from_request_parts(head: &mut Head, shared: &Shared) -> Result<Self, Problem> {
        let correlation = correlation(head.extensions.get());
        let read: Result<AxumPath<T>, PathRejection> = AxumPath::from_request_parts(head, shared).await;
        match read {
            Ok(AxumPath(path)) => Ok(Self(path)),
            Err(error) => {
                let hint = "copy ids and names from the lists; percent-encode what a path cannot hold";
                Err(Problem::new(&correlation, error.status(), "bad-path", error.body_text(), hint))
            }
        }
    }
}

fn correlation(found: Option<&Correlation>) -> Correlation {
    found.cloned().unwrap_or_else(|| Correlation(String::new()))
}
