import base64
import hashlib
import re
from html.parser import HTMLParser

from openapi_spec_validator import validate

from services.common.operations import DEFAULT_OPERATIONS, OPERATIONS
from services.common.version import VERSION
from tests.api.conftest import Api

PUBLIC_PAGES = {"/openapi.json", "/docs"}


def test_the_document_is_valid_openapi_3_1(api: Api) -> None:
    document = api.get("/openapi.json", key=None).body

    assert document["openapi"].startswith("3.1.")
    validate(document)


def test_the_document_has_the_version_of_the_services(api: Api) -> None:
    assert api.get("/openapi.json").body["info"]["version"] == VERSION


def test_every_route_and_method_is_documented(api: Api) -> None:
    paths = api.get("/openapi.json").body["paths"]
    documented = {(path, method.upper()) for path in paths for method in paths[path]}
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method)
        for rule in api.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule not in PUBLIC_PAGES
    }

    assert documented == served


def test_only_protected_routes_document_security(api: Api) -> None:
    for path, operations in api.get("/openapi.json").body["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == ("401" in operation["responses"]), path


def test_every_operation_and_parameter_is_documented(api: Api) -> None:
    schemas = api.get("/openapi.json").body["components"]["schemas"]

    for operation in OPERATIONS.values():
        properties = schemas[operation.__name__]["properties"]
        assert properties.keys() == operation.model_fields.keys()


def test_the_catalogue_has_a_schema_for_each_operation(api: Api) -> None:
    catalogue = api.get("/operations").body
    schemas = {entry["name"]: entry["schema"] for entry in catalogue["operations"]}

    assert schemas.keys() == OPERATIONS.keys()
    assert schemas["resize"]["properties"]["mode"]["enum"] == ["fit", "fill", "exact"]
    assert catalogue["default"] == [{"name": operation.name} for operation in DEFAULT_OPERATIONS]
    assert catalogue["maxOperations"] == 10


class _ActiveContent(HTMLParser):
    """Collects the elements that load or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        handlers = {name for name in names if name.startswith("on")}
        if tag in {"script", "link", "img", "iframe", "form"} or "style" in names or handlers:
            self.found.append(tag)


def test_the_page_shows_every_route_and_loads_nothing(api: Api) -> None:
    response = api.get("/docs", key=None)
    paths = api.get("/openapi.json").body["paths"]

    assert response.content_type == "text/html; charset=utf-8"
    assert all(f"<code>{path}</code>" in response.text for path in paths)
    active = _ActiveContent()
    active.feed(response.text)
    assert active.found == []


def test_the_page_policy_allows_only_its_own_style(api: Api) -> None:
    response = api.get("/docs")
    [style] = re.findall(r"<style>(.*?)</style>", response.text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()

    policy = response.headers["Content-Security-Policy"].split("; ")
    assert policy[:2] == ["default-src 'none'", f"style-src 'sha256-{digest}'"]
