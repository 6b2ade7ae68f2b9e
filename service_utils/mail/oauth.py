"""Tokens for Gmail and Outlook (XOAUTH2): functions to be given as ``token=`` to a Mailer or a mailbox.

The libraries of Google and Microsoft keep a token as long as it is good; what they ask the network is asked by a
thread of efio's pool.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from efio import Lock, run_blocking
from evpy.errors import DeadlineExceeded
from service_utils.mail.errors import LoginFailed, MailUnavailable
from service_utils.security.secret_values import Secret

__all__ = ["gmail_token", "outlook_token"]

GMAIL_SCOPE = "https://mail.google.com/"
OUTLOOK_SCOPE = "https://outlook.office365.com/.default"


def gmail_token(account: str | os.PathLike[str] | Mapping[str, Any], user: str) -> Callable[[], str]:
    """For a Google Workspace user, by a service account (its JSON file, or what is in it) with domain-wide delegation.

    ImportError without google-auth and requests; the function raises LoginFailed and MailUnavailable.
    """
    try:
        from google.auth.exceptions import GoogleAuthError, TransportError
        from google.auth.transport.requests import Request
        from google.oauth2.service_account import Credentials
    except ImportError as error:
        raise ImportError(f"Gmail needs google-auth and requests: pip install 'evpy[gmail]' ({error})") from error

    make: Any = Credentials
    settings = {"scopes": [GMAIL_SCOPE], "subject": user}
    if isinstance(account, Mapping):
        credentials = make.from_service_account_info(account, **settings)
    else:
        credentials = make.from_service_account_file(os.fspath(account), **settings)
    lock = Lock()

    def token() -> str:
        with lock:
            if not credentials.valid:
                try:
                    run_blocking(credentials.refresh, Request())
                except TransportError as error:
                    raise MailUnavailable(f"Google gives no token for {user}: {error}") from error
                except GoogleAuthError as error:
                    raise LoginFailed(f"Google gives no token for {user}: {error}") from error
            return str(credentials.token)

    return token


def outlook_token(client_id: str, secret: str | Secret, tenant: str, *, http_client: Any = None) -> Callable[[], str]:
    """For an application that is registered with Microsoft Entra (client credentials).

    ImportError without msal; the function raises LoginFailed and MailUnavailable.
    """
    try:
        import msal
    except ImportError as error:
        raise ImportError(f"Outlook needs msal: pip install 'evpy[outlook]' ({error})") from error
    credential = secret.reveal() if isinstance(secret, Secret) else secret
    lock = Lock()
    made: list[Any] = []

    def ask() -> Any:
        if not made:  # asks the network, too
            authority = f"https://login.microsoftonline.com/{tenant}"
            made.append(
                msal.ConfidentialClientApplication(
                    client_id,
                    authority=authority,
                    client_credential=credential,
                    instance_discovery=False,
                    http_client=http_client,
                )
            )
        return made[0].acquire_token_for_client(scopes=[OUTLOOK_SCOPE])

    def token() -> str:
        with lock:
            try:
                found = run_blocking(ask)
            except DeadlineExceeded:
                raise
            except (OSError, ValueError) as error:  # requests' errors are OSErrors
                raise MailUnavailable(f"Microsoft gives no token for {client_id}: {error}") from error
        if "access_token" not in found:
            why = found.get("error_description") or found.get("error")
            raise LoginFailed(f"Microsoft gives no token for {client_id}: {why}")
        return str(found["access_token"])

    return token
