"""Content credentials of a file: whether they are valid, who signed them and what they state."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..errors import MediaError, OptionError
from .certificates import SELF_MADE
from .library import new_context, reason_of
from .manifest import HASH

VALID, UNTRUSTED, INVALID, NONE = "valid", "untrusted", "invalid", "none"
"""States of a file. Untrusted: valid, but the signer is not on the list that was given."""
LISTED, THIS_COMPUTER, UNPROVEN = "listed", "this computer", "unproven"
"""Who signed: somebody on the list given, this computer's self-made certificate, anybody (besides SELF_MADE)."""
_ANYBODY = "signingCredential.untrusted"
_CHANGES = ("Hash.mismatch", "hashedURI.mismatch", "claimSignature.mismatch", "hashedURI.missing", "Hash.malformed")


def verify_file(path: str, trust: str | None = None, own: str | None = None) -> dict[str, Any]:
    """Return what the content credentials of a file state, and whether they hold, as JSON values.

    `state` and `signer.proof` have the values above; `changed` tells that the content, or what is stated, is not what
    was signed; `problems` are C2PA's codes. Never uses the network. Called in a child process for files of strangers.

    Args:
        path: the file.
        trust: PEM certificates of whom is trusted.
        own: where `trust` is None, the PEM chain of this computer's self-made certificate.

    Raises:
        MediaError: there is no such file, or it cannot be read.
    """
    import c2pa

    report: dict[str, Any] = {"path": path, "state": NONE, "changed": False, "signer": None, "problems": []}
    try:
        Path(path).open("rb").close()
    except (OSError, ValueError) as error:
        raise MediaError(f"{path} cannot be read ({getattr(error, 'strerror', None) or error})") from error
    anchors = trust or own
    settings = {"trust": {"user_anchors": anchors}} if anchors else {}
    try:
        with new_context(**settings) as context, c2pa.Reader(path, context=context) as reader:
            read = json.loads(reader.json())
    except (c2pa.C2paError.ManifestNotFound, c2pa.C2paError.NotSupported):
        return report
    except c2pa.C2paError as error:
        if str(error).startswith("Remote"):
            return report | {"problems": ["the file names an address of content credentials, which is not asked"]}
        return report | {"state": INVALID, "changed": True, "problems": [reason_of(error)]}
    return report | _described(read, is_list_given=trust is not None)


def read_trust_list(path: Path) -> str:
    """Return a file of PEM certificates. Raises OptionError where it is none."""
    from cryptography import x509

    try:
        data = path.read_bytes()
        x509.load_pem_x509_certificates(data)
        return data.decode("utf-8")
    except OSError as error:
        raise OptionError(f"--trust {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise OptionError(f"--trust {path} holds no certificates in PEM") from error


def _described(read: dict[str, Any], *, is_list_given: bool) -> dict[str, Any]:
    """Return the parts of a report that the library's reader tells."""
    manifest = read.get("manifests", {}).get(read.get("active_manifest"), {})
    problems = [each for each in read.get("validation_status", ()) if each.get("code") != _ANYBODY]
    codes = [str(each.get("code")) for each in problems]
    is_known = read.get("validation_state") == "Trusted"
    signature = manifest.get("signature_info", {})
    if is_known:
        who = LISTED if is_list_given else THIS_COMPUTER
    else:
        who = SELF_MADE if signature.get("common_name") == SELF_MADE else UNPROVEN
    state = VALID
    if read.get("validation_state") not in ("Valid", "Trusted"):
        state = INVALID
    elif is_list_given and not is_known:
        state = UNTRUSTED
    tools = [
        f"{each.get('name', '')} {each.get('version', '')}".strip() for each in _list(manifest, "claim_generator_info")
    ]
    assertions = _list(manifest, "assertions")
    actions = [
        action
        for each in assertions
        if str(each.get("label")).startswith("c2pa.actions")
        for action in each.get("data", {}).get("actions", ())
    ]
    source_types = (str(action.get("digitalSourceType", "")).rpartition("/")[2] for action in actions)
    return {
        "state": state,
        "changed": any(code.endswith(_CHANGES) for code in codes),
        "signer": {"name": signature.get("issuer") or signature.get("common_name") or "", "proof": who},
        "problems": codes,
        "tool": ", ".join(tools) or str(manifest.get("claim_generator", "")),
        "title": str(manifest.get("title", "")),
        "digital_source_type": next(filter(None, source_types), None),
        "actions": [str(action.get("action")) for action in actions],
        "ingredients": [_ingredient(each) for each in _list(manifest, "ingredients")],
    }


def _ingredient(stated: dict[str, Any]) -> dict[str, Any]:
    identity = str(stated.get("instance_id", ""))
    return {
        "title": str(stated.get("title", "")),
        "relationship": str(stated.get("relationship", "")),
        "sha256": identity.removeprefix(HASH) if identity.startswith(HASH) else None,
    }


def _list(manifest: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return [each for each in manifest.get(key) or () if isinstance(each, dict)]
