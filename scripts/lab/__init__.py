"""What the scripts that run whole gateways share: processes, hosts with lines between them, an app that can be checked, visitors."""
