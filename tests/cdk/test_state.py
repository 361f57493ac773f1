"""Data is encrypted, private, kept for its retention and protected against deletion."""

import pytest

from cdk.template.templates import Resource, Templates

DAY_S = 86_400


def test_the_table_is_on_demand_with_point_in_time_recovery_and_time_to_live(
    deployment: Templates,
) -> None:
    table = deployment.one("DynamoDB::Table")

    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expiresAt", "Enabled": True}


def test_queues_are_encrypted_and_deny_plain_text(deployment: Templates) -> None:
    for queue in (deployment.queue, deployment.dead_letter_queue):
        assert queue["SqsManagedSseEnabled"] is True
        policy = deployment.one("SQS::QueuePolicy", Queues=[{"Ref": queue.logical_id}])
        assert denies_plain_text(policy, "sqs:*")


def test_the_dead_letter_queue_keeps_messages_longer_and_accepts_only_its_queue(
    deployment: Templates,
) -> None:
    queue, dead_letters = deployment.queue, deployment.dead_letter_queue

    assert dead_letters["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
    assert dead_letters["RedriveAllowPolicy"] == {
        "redrivePermission": "byQueue",
        "sourceQueueArns": [f"arn:aws:sqs:eu-west-1:111122223333:{queue['QueueName']}"],
    }


def test_the_queue_has_the_timeouts_of_the_settings(deployment: Templates) -> None:
    queue, settings = deployment.queue, deployment.settings

    assert queue["VisibilityTimeout"] == settings.visibility_timeout_s
    assert queue["MessageRetentionPeriod"] == settings.queue_retention_days * DAY_S
    assert queue["RedrivePolicy"]["maxReceiveCount"] == settings.max_receive_count


def test_buckets_are_private_and_encrypted_and_deny_plain_text(deployment: Templates) -> None:
    for bucket in (deployment.result_bucket, deployment.log_bucket):
        assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
        (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
        assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
        policy = deployment.one("S3::BucketPolicy", Bucket={"Ref": bucket.logical_id})
        assert denies_plain_text(policy, "s3:*")


def test_results_and_uploads_expire(deployment: Templates) -> None:
    rules = deployment.result_bucket["LifecycleConfiguration"]["Rules"]

    days = {rule["Prefix"]: rule["ExpirationInDays"] for rule in rules if "Prefix" in rule}

    assert days == {
        # Results of all attempts have the same prefix.
        "results/": deployment.settings.result_retention_days,
        "uploads/": deployment.settings.upload_retention_days,
    }
    assert {rule["Status"] for rule in rules} == {"Enabled"}


def test_unfinished_uploads_are_deleted(deployment: Templates) -> None:
    assert {"DaysAfterInitiation": 1} in [
        rule.get("AbortIncompleteMultipartUpload")
        for rule in deployment.result_bucket["LifecycleConfiguration"]["Rules"]
    ]


def test_a_browser_may_read_a_presigned_url(deployment: Templates) -> None:
    (rule,) = deployment.result_bucket["CorsConfiguration"]["CorsRules"]

    assert rule["AllowedOrigins"] == ["*"]
    assert set(rule["AllowedMethods"]) == {"GET", "HEAD"}


def test_access_logs_expire_with_other_logs(deployment: Templates) -> None:
    (rule,) = deployment.log_bucket["LifecycleConfiguration"]["Rules"]

    assert rule["ExpirationInDays"] == deployment.settings.log_retention_days


def test_the_secret_starts_without_api_keys(deployment: Templates) -> None:
    assert deployment.one("SecretsManager::Secret")["SecretString"] == "{}"


RETAINED = ("DynamoDB::Table", "S3::Bucket", "SecretsManager::Secret")


@pytest.mark.parametrize("kind", RETAINED)
def test_data_outlives_its_stack_outside_dev(deployments: dict[str, Templates], kind: str) -> None:
    for profile, deployment in deployments.items():
        for resource in deployment.all(kind):
            on_deletion, on_replacement = (
                ("Delete", "Delete") if profile == "dev" else ("RetainExceptOnCreate", "Retain")
            )
            assert resource.body["DeletionPolicy"] == on_deletion
            assert resource.body["UpdateReplacePolicy"] == on_replacement


def test_nothing_survives_a_first_deployment_that_is_rolled_back(deployment: Templates) -> None:
    """A resource that is left over has the name that the next try needs."""
    policies = {resource.body.get("DeletionPolicy", "Delete") for resource in deployment.resources}

    assert policies <= {"Delete", "RetainExceptOnCreate"}


def test_the_table_has_deletion_protection_outside_dev(deployments: dict[str, Templates]) -> None:
    protected = {
        profile: deployment.one("DynamoDB::Table").get("DeletionProtectionEnabled")
        for profile, deployment in deployments.items()
    }

    assert protected == {"dev": False, "standard": True, "private": True}


def denies_plain_text(policy: Resource, actions: str) -> bool:
    return any(
        statement["Effect"] == "Deny"
        and statement["Action"] == actions
        and statement["Principal"] == {"AWS": "*"}
        and statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
        for statement in policy["PolicyDocument"]["Statement"]
    )
