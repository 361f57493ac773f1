"""The firewall of the load balancer."""

from collections.abc import Sequence

from aws_cdk import ArnFormat, RemovalPolicy, Stack
from aws_cdk.aws_wafv2 import CfnLoggingConfiguration, CfnWebACL, CfnWebACLAssociation
from constructs import Construct

from cdk.constructs.retention import log_group
from cdk.settings import Settings

COUNTED_RULES = (
    "NoUserAgent_HEADER",  # HTTP requires no User-Agent, and some clients send none
    "SizeRestrictions_BODY",  # 8 KB, less than the API accepts
    # These rules mistake the image URL in a submission for an attack. The worker checks the URL
    # when it downloads the image.
    "GenericLFI_BODY",
    "GenericRFI_BODY",
    "CrossSiteScripting_BODY",
    "EC2MetaDataSSRF_BODY",
)
"""Rules of AWS's core rule set that would block valid requests. They count and log instead.

Source: "Baseline rule groups", section "Core rule set (CRS) managed rule group", AWS WAF Developer
Guide.
"""


class WebAcl(Construct):
    """AWS's managed rules and a rate limit per IP address, for one load balancer."""

    def __init__(
        self, scope: Construct, construct_id: str, *, settings: Settings, load_balancer_arn: str
    ) -> None:
        super().__init__(scope, construct_id)
        acl = CfnWebACL(
            self,
            "Acl",
            scope="REGIONAL",
            default_action=CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visibility("WebAcl"),
            data_protection_config=_hide_api_keys(),
            rules=[
                _rate_limit(settings.rate_limit_per_ip, priority=0),
                _managed_rules("AWSManagedRulesAmazonIpReputationList", priority=1),
                _managed_rules("AWSManagedRulesKnownBadInputsRuleSet", priority=2),
                _managed_rules("AWSManagedRulesCommonRuleSet", priority=3, counted=COUNTED_RULES),
            ],
        )
        CfnWebACLAssociation(
            self, "Association", resource_arn=load_balancer_arn, web_acl_arn=acl.attr_arn
        )
        self._log(acl, settings)

    def _log(self, acl: CfnWebACL, settings: Settings) -> None:
        """Log the requests that a rule blocks or counts."""
        logs = log_group(
            self,
            "Logs",
            settings,
            name=f"aws-waf-logs-taskfleet-{settings.environment}",  # WAF requires the prefix
        )
        # If it were retained, its fixed name would make the next deployment fail.
        logs.apply_removal_policy(RemovalPolicy.DESTROY)
        CfnLoggingConfiguration(
            self,
            "Logging",
            resource_arn=acl.attr_arn,
            # WAF rejects the `:*` at the end of a log group's usual ARN.
            log_destination_configs=[
                Stack.of(self).format_arn(
                    service="logs",
                    resource="log-group",
                    resource_name=logs.log_group_name,
                    arn_format=ArnFormat.COLON_RESOURCE_NAME,
                )
            ],
            logging_filter={
                "DefaultBehavior": "DROP",
                "Filters": [
                    {
                        "Behavior": "KEEP",
                        "Requirement": "MEETS_ANY",
                        "Conditions": [
                            {"ActionCondition": {"Action": action}}
                            for action in ("BLOCK", "COUNT", "EXCLUDED_AS_COUNT")
                        ],
                    }
                ],
            },
        )


def _visibility(name: str) -> CfnWebACL.VisibilityConfigProperty:
    return CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=True
    )


def _hide_api_keys() -> CfnWebACL.DataProtectionConfigProperty:
    """Hide API keys in logs and in sampled requests.

    The logging configuration could only hide them in logs.

    Source: "DataProtectionConfig", AWS WAFV2 API Reference.
    """
    return CfnWebACL.DataProtectionConfigProperty(
        data_protections=[
            CfnWebACL.DataProtectProperty(
                field=CfnWebACL.FieldToProtectProperty(
                    field_type="SINGLE_HEADER", field_keys=["authorization"]
                ),
                action="SUBSTITUTION",
            )
        ]
    )


def _rate_limit(requests: int, *, priority: int) -> CfnWebACL.RuleProperty:
    return CfnWebACL.RuleProperty(
        name="RateLimit",
        priority=priority,
        action=CfnWebACL.RuleActionProperty(block={}),
        statement=CfnWebACL.StatementProperty(
            rate_based_statement=CfnWebACL.RateBasedStatementProperty(
                limit=requests, aggregate_key_type="IP", evaluation_window_sec=300
            )
        ),
        visibility_config=_visibility("RateLimit"),
    )


def _managed_rules(
    name: str, *, priority: int, counted: Sequence[str] = ()
) -> CfnWebACL.RuleProperty:
    count = CfnWebACL.RuleActionProperty(count={})
    return CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=CfnWebACL.OverrideActionProperty(none={}),
        statement=CfnWebACL.StatementProperty(
            managed_rule_group_statement=CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS",
                name=name,
                rule_action_overrides=[
                    CfnWebACL.RuleActionOverrideProperty(name=rule, action_to_use=count)
                    for rule in counted
                ],
            )
        ),
        visibility_config=_visibility(name),
    )
